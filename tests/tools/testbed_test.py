"""tools/testbed: the paths are what was asked for, and nothing stays behind.

Usage: testbed_test.py [unittest arguments]

Exits 77, saying why, where testbeds cannot be made. Sockets on the hosts are
opened here, in this process, by a visit to the host's network namespace.
"""

import bisect
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

TESTBED = Path(__file__).resolve().parents[2] / "tools" / "testbed"
STATE_DIRECTORY = Path("/run/hawser-testbed")
NAME = f"test{os.getpid()}"  # Others may be at it at the same time.
SKIPPED = 77
NOT_HERE = 3

CLONE_NEWNET = 0x40000000
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
ETHERTYPE = 0x88b5  # For experiments, by IEEE 802.
ECT_0, CE = 2, 3

PAYLOAD_BYTES = 1472  # With UDP and IP: an MTU of 1500.
FRAME_BYTES = 1514    # With Ethernet, as the rate counts it.
BURST_PACKETS = 10    # Short enough for a token bucket to take it whole.
PORT = 9000
LIBC = ctypes.CDLL(None, use_errno=True)


def testbed(*words, name=NAME, **more):
    """(status, stdout, stderr)"""
    done = subprocess.run([sys.executable, TESTBED, words[0], "--name", name,
                           *map(str, words[1:])], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60,
                          check=False, **more)
    return done.returncode, done.stdout, done.stderr


def start(*words, name=NAME, **more):
    return subprocess.Popen([sys.executable, TESTBED, words[0], "--name", name,
                             *map(str, words[1:])], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, **more)


def must(*words, **more):
    status, out, err = testbed(*words, **more)
    if status != 0:
        raise AssertionError(f"testbed {' '.join(map(str, words))}: exit "
                             f"{status}: {err}")
    return out


def path(number, *words):
    must("path", number, *words)


@contextlib.contextmanager
def on_host(host, name=NAME):
    """Within, this thread's new sockets are on that host."""
    with open("/proc/thread-self/ns/net", "rb") as home, \
            open(f"/run/netns/{name}-{host}", "rb") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


def udp(host, address="0.0.0.0", port=0, name=NAME):
    with on_host(host, name):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    opened.bind((address, port))
    opened.settimeout(2)
    return opened


def arrives(sender, receiver, to, size=100, wait_s=0.3):
    """Whether one packet gets from here to there; others are passed over."""
    token = os.urandom(8)
    sender.sendto(token.ljust(size, b"."), to)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if select.select([receiver], [], [], 0.02)[0]:
            if receiver.recv(65536)[:8] == token:
                return True
    return False


def wait_until(condition, limit_s=10):
    deadline = time.monotonic() + limit_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.02)
    return True


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def leftovers(name=NAME):
    """Whatever of a testbed there is: namespaces, files, processes."""
    found = [str(entry) for folder in (STATE_DIRECTORY, Path("/run/netns"))
             if folder.is_dir() for entry in folder.iterdir()
             if entry.name.startswith((f"{name}-", f"{name}."))]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if any(f"/{name}" in word.decode(errors="replace")
                   for word in words) and is_alive(process.name):
                found.append(f"process {process.name}: {words[0].decode()}")
    return found


class Stream:
    """Packets of full size with running numbers, as fast as the path takes
    them, in bursts that the kernel has to cut; and their receiver, here as
    well."""

    def __init__(self, to, sender, receiver, packets=1 << 62, tos=0):
        self.seen = []       # Their numbers,
        self.times = []      # when they came, by the kernel's time.time(),
        self.marked = 0      # and how many of them with CE.
        self._to, self._sender, self._receiver = to, sender, receiver
        self._packets, self._tos = packets, tos
        self._stop = threading.Event()

    def __enter__(self):
        self._threads = [threading.Thread(target=work, daemon=True)
                         for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def finish(self):
        self._threads[1].join()  # All sent.
        time.sleep(0.2)
        self._stop.set()

    def _send(self):
        number = 0
        filler = bytes(PAYLOAD_BYTES - 8)
        extra = [
            (socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", PAYLOAD_BYTES)),
            (socket.IPPROTO_IP, socket.IP_TOS, struct.pack("i", self._tos))]
        while number < self._packets and not self._stop.is_set():
            burst = b"".join(struct.pack("Q", number + i) + filler
                             for i in range(BURST_PACKETS))
            with contextlib.suppress(TimeoutError):
                self._sender.sendmsg([burst], extra, 0, self._to)
                number += BURST_PACKETS

    def _receive(self):
        self._receiver.settimeout(0.05)
        while True:
            try:
                data, extra, _, _ = self._receiver.recvmsg(65536, 128)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            self.seen.append(struct.unpack_from("Q", data)[0])
            for level, kind, value in extra:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value)
                    self.times.append(seconds + nanoseconds * 1e-9)
                elif kind == socket.IP_TOS and value[0] & 3 == CE:
                    self.marked += 1

    def rate_mbps(self, window_s=0.5):
        """What comes in a window from now on, counted as on the wire."""
        began = time.time()
        time.sleep(window_s)
        times = self.times[bisect.bisect(self.times, began):]
        if len(times) < 2:
            return 0
        return ((len(times) - 1) * FRAME_BYTES * 8 /
                (times[-1] - times[0]) / 1e6)


class OnTestbed(unittest.TestCase):

    UP = ()

    @classmethod
    def setUpClass(cls):
        must("up", *cls.UP)
        cls.addClassCleanup(testbed, "down")

    def setUp(self):
        self.sockets = contextlib.ExitStack()
        self.addCleanup(self.sockets.close)

    def udp(self, host, *where):
        return self.sockets.enter_context(udp(host, *where))

    def pair(self, plane):
        """(socket of a's, socket of b's, b's address) on a plane."""
        address = f"10.77.{plane}.2"
        return (self.udp("a", f"10.77.{plane}.1"),
                self.udp("b", address, PORT), (address, PORT))

    def check_rate(self, stream, mbps):
        # Never more; and less only while this machine has other work.
        rates = []
        while len(rates) < 15:
            rates.append(stream.rate_mbps())
            self.assertLess(rates[-1], mbps * 1.05)
            if rates[-1] > mbps * 0.95:
                return
        self.fail(f"{rates} instead of {mbps} Mb/s")


class Planes(OnTestbed):

    UP = ("--planes", 4, "--rate", "200mbit")

    def test_rate_and_its_change(self):
        sender, receiver, to = self.pair(0)
        with Stream(to, sender, receiver) as stream:
            self.check_rate(stream, 200)
            path(0, "--rate", "20mbit")
            time.sleep(0.2)  # What the queue held has left.
            self.check_rate(stream, 20)
            path(0, "--clear")
            time.sleep(0.2)
            self.check_rate(stream, 200)

    def test_planes_have_their_rates_at_the_same_time(self):
        path(3, "--rate", "50mbit")
        self.addCleanup(path, 3, "--clear")
        with contextlib.ExitStack() as open_streams:
            streams = []
            for plane in (2, 3):
                sender, receiver, to = self.pair(plane)
                streams.append(open_streams.enter_context(
                    Stream(to, sender, receiver)))
            self.check_rate(streams[0], 200)
            self.check_rate(streams[1], 50)

    def test_tcp_gets_the_rate(self):
        with on_host("b"):
            listener = self.sockets.enter_context(
                socket.create_server(("10.77.1.2", PORT)))
        with on_host("a"):
            sender = self.sockets.enter_context(
                socket.create_connection(("10.77.1.2", PORT)))
        receiver = self.sockets.enter_context(listener.accept()[0])
        stop = threading.Event()

        def send():
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    sender.sendall(bytes(1 << 16))
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        expected = 200 * 1448 / FRAME_BYTES
        rates = []
        while len(rates) < 6 and max(rates, default=0) < expected * 0.95:
            began, received = time.monotonic(), 0
            while time.monotonic() < began + 1:
                received += len(receiver.recv(1 << 20))
            rates.append(received * 8 / (time.monotonic() - began) / 1e6)
        stop.set()
        receiver.close()
        thread.join()
        self.assertGreater(max(rates), expected * 0.95, rates)
        self.assertLess(max(rates), expected * 1.05, rates)

    def sent_over(self, plane, packets, **more):
        sender, receiver, to = self.pair(plane)
        with Stream(to, sender, receiver, packets=packets, **more) as stream:
            stream.finish()
        sender.close()
        receiver.close()
        return stream

    def check_share(self, share, expected, packets):
        # Five standard deviations: once in two million runs by chance.
        deviation = (expected * (1 - expected) / packets) ** 0.5
        self.assertAlmostEqual(share, expected, delta=5 * deviation)

    def test_a_well_path_loses_and_marks_nothing_and_keeps_the_order(self):
        packets = 800 * BURST_PACKETS
        stream = self.sent_over(1, packets, tos=ECT_0)
        self.assertEqual(sorted(stream.seen), list(range(packets)))
        self.assertEqual(stream.marked, 0)
        overtaken = sum(b < a for a, b in zip(stream.seen, stream.seen[1:]))
        # The sender may be moved to another core, and then it happens.
        self.assertLess(overtaken, packets / 1000)

    def test_loss_of_single_packets(self):
        path(1, "--loss", "1%")
        self.addCleanup(path, 1, "--clear")
        packets = 4000 * BURST_PACKETS
        stream = self.sent_over(1, packets)
        self.check_share(1 - len(stream.seen) / packets, 0.01, packets)
        lost = set(range(packets)) - set(stream.seen)
        touched = {number // BURST_PACKETS for number in lost}
        # Had the bursts crossed in one piece, ten would be lost at a time.
        self.assertGreater(len(touched), len(lost) * 0.8)
        ways = json.loads(must("status", "--json"))["ways"]
        counted = {(way["path"], way["from"]): way["dropped"] for way in ways}
        self.assertEqual(counted[1, "a"], len(lost))

    def test_marks(self):
        path(2, "--ce", "10%")
        self.addCleanup(path, 2, "--clear")
        packets = 2000 * BURST_PACKETS
        stream = self.sent_over(2, packets, tos=ECT_0)
        self.assertEqual(len(stream.seen), packets)
        self.check_share(stream.marked / packets, 0.10, packets)
        stream = self.sent_over(2, 200 * BURST_PACKETS, tos=0)
        self.assertEqual(stream.marked, 0, "not ECN-capable, so never marked")

    def test_one_direction_alone(self):
        path(3, "--loss", "100%", "--from", "b")
        self.addCleanup(path, 3, "--clear")
        a, b, to = self.pair(3)
        self.assertTrue(arrives(a, b, to))
        self.assertFalse(arrives(b, a, a.getsockname()))

    def test_dark_at_once_and_light_again(self):
        sender, receiver, to = self.pair(0)
        self.addCleanup(path, 0, "--clear")
        with Stream(to, sender, receiver) as stream:
            self.assertTrue(wait_until(lambda: len(stream.seen) > 1000))
            path(0, "--dark")
            dark = time.time()
            time.sleep(0.5)
            self.assertLess(stream.times[-1], dark)
            count = len(stream.times)
            path(0, "--clear")
            light = time.time()
            self.assertTrue(wait_until(lambda: len(stream.times) > count))
            self.assertLess(stream.times[count], light + 0.1)
        # The sender hears nothing of it: no error, no ICMP.
        path(0, "--dark")
        self.assertFalse(arrives(sender, receiver, to))
        sender.sendto(b"still no error", to)

    def test_dark_one_way(self):
        a, b, to = self.pair(1)
        self.addCleanup(path, 1, "--clear")
        for words in (("--dark-one-way", "a"), ("--dark", "--from", "a")):
            path(1, *words)
            self.assertFalse(arrives(a, b, to))
            self.assertTrue(arrives(b, a, a.getsockname()))
            path(1, "--clear")
            self.assertTrue(arrives(a, b, to))

    def test_mtu_hole(self):
        a, b, to = self.pair(2)
        path(2, "--mtu-hole", 1200)
        self.addCleanup(path, 2, "--clear")
        self.assertTrue(arrives(a, b, to, size=1200 - 28))
        self.assertFalse(arrives(a, b, to, size=1201 - 28))
        path(2, "--mtu-hole", 0)
        self.assertTrue(arrives(a, b, to, size=PAYLOAD_BYTES))

    def test_what_is_not_mentioned_stays(self):
        path(1, "--loss", "1%", "--rate", "50mbit")
        self.addCleanup(path, 1, "--clear")
        path(1, "--ce", "10%", "--from", "a")
        ways = {(way["path"], way["from"]): way
                for way in json.loads(must("status", "--json"))["ways"]}
        kept = {key: (ways[key]["rate_bps"], ways[key]["loss_ppm"],
                      ways[key]["ce_ppm"]) for key in ways if key[0] < 2}
        self.assertEqual(kept, {(0, "a"): (200_000_000, 0, 0),
                                (0, "b"): (200_000_000, 0, 0),
                                (1, "a"): (50_000_000, 10_000, 100_000),
                                (1, "b"): (50_000_000, 10_000, 0)})

    def test_exec_and_status(self):
        status, out, _ = testbed("exec", "b", "--", "sh", "-c",
                                 "ls /sys/class/net; exit 7")
        self.assertEqual(status, 7)
        self.assertEqual(out.split(), ["lo"] + [f"plane{i}" for i in range(4)])
        self.assertIn("HAWSER_IFNAME=plane", must("status"))

    def test_another_beside_it(self):
        other = NAME + "x"
        self.addCleanup(testbed, "down", name=other)
        must("up", "--planes", 1, name=other)
        path(0, "--dark")
        self.addCleanup(path, 0, "--clear")
        with udp("a", name=other) as a, \
                udp("b", "10.77.0.2", PORT, name=other) as b:
            self.assertTrue(arrives(a, b, ("10.77.0.2", PORT)))
        must("down", name=other)
        self.assertEqual(leftovers(other), [])
        self.assertEqual(len(leftovers()), 3)

    def test_up_on_what_is_up(self):
        status, _, err = testbed("up", "--planes", 2)
        self.assertEqual(status, 1)
        self.assertIn(f"down --name {NAME}", err)

    def test_bad_words(self):
        for words in (("path", 4, "--dark"), ("path", 1), ("path", 1, "--loss"),
                      ("path", 1, "--loss", "1"), ("path", 1, "--loss", "101%"),
                      ("path", 1, "--rate", "20"),
                      ("path", 1, "--rate", "0mbit"),
                      ("path", 1, "--delay", "5"), ("path", -1, "--dark"),
                      ("path", 1, "--dark", "--from", "c"), ("exec", "a"),
                      ("exec", "c", "--", "true"), ("down", "--", "x"),
                      ("up",), ("up", "--planes", 0), ("nothing",),
                      ("up", "--planes", 2, "--routes", 2),
                      ("up", "--planes", 2, "--dpdk", "net_null"),
                      ("up", "--routes", 2, "--dpdk", "af_packet"),
                      ("up", "--planes", 1, "--dpdk", "memif", "--rate",
                       "1mbit"),
                      ("up", "--planes", 1, "--dpdk", "af_xdp", "--mtu", 9000),
                      ("up", "--routes", 2, "--hosts", 3)):
            with self.subTest(words=words):
                status, _, err = testbed(*words)
                self.assertEqual(status, 2, err)
                self.assertNotIn("Traceback", err)


class Routes(OnTestbed):

    UP = ("--routes", 8, "--rate", "100mbit")
    TO = ("10.78.1.1", PORT)

    def ports(self):
        """One source port per route, by asking the router."""
        found = {}
        for port in range(40000, 40400):
            said = subprocess.run(
                ["ip", "-n", f"{NAME}-ra", "route", "get", self.TO[0], "from",
                 "10.78.0.1", "iif", "host", "ipproto", "udp", "sport",
                 str(port), "dport", str(PORT)], capture_output=True,
                text=True, check=True).stdout.split()
            found.setdefault(said[said.index("dev") + 1], port)
            if len(found) == 8:
                break
        return [found[f"route{i}"] for i in range(8)]

    def carried(self):
        ways = json.loads(must("status", "--json"))["ways"]
        return [way["sent_bytes"] for way in ways if way["from"] == "a"]

    def test_every_port_stays_on_its_route(self):
        receiver = self.udp("b", *self.TO)
        for connected in (False, True):
            for route, port in enumerate(self.ports()):
                sender = self.udp("a", "10.78.0.1", port)
                if connected:  # Its packets carry a hash of the kernel's own.
                    sender.connect(self.TO)
                before = self.carried()
                for _ in range(20):
                    sender.sendto(bytes(1000), self.TO)
                for _ in range(20):
                    self.assertEqual(receiver.recvfrom(2000)[1][1], port)
                grown = [now - then
                         for now, then in zip(self.carried(), before)]
                expected = [0] * 8
                expected[route] = 20 * 1042
                self.assertEqual(grown, expected)
                sender.close()

    def test_one_route_dark(self):
        receiver = self.udp("b", *self.TO)
        ports = self.ports()
        path(5, "--dark")
        self.addCleanup(path, 5, "--clear")
        reached = [arrives(self.udp("a", "10.78.0.1", port), receiver, self.TO,
                           wait_s=0.2) for port in ports]
        self.assertEqual(reached, [route != 5 for route in range(8)])


class FourHosts(OnTestbed):

    UP = ("--hosts", 4, "--planes", 2)

    def test_everyone_reaches_everyone_but_over_what_is_dark(self):
        path(1, "--dark", "--from", "c")
        sockets = {(host, plane): self.udp(host, f"10.77.{plane}.{i + 1}", PORT)
                   for i, host in enumerate("abcd") for plane in range(2)}
        for (host, plane), sender in sockets.items():
            for (other, its_plane), receiver in sockets.items():
                if plane == its_plane and host != other:
                    dark = (host, plane) == ("c", 1)
                    self.assertEqual(
                        arrives(sender, receiver, receiver.getsockname(),
                                wait_s=0.1 if dark else 2), not dark,
                        f"from {host} to {other} by plane {plane}")


class PlanesOfDpdk(OnTestbed):
    """What goes past the kernel's queues and filters of a host."""

    UP = ("--planes", 2, "--rate", "100mbit", "--dpdk", "af_packet")

    def raw(self, host, device):
        with on_host(host):
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.addCleanup(opened.close)
        opened.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        opened.bind((device, ETHERTYPE))
        return opened

    def test_a_plane_is_as_it_was_told_to_be(self):
        sender, receiver = self.raw("a", "plane1"), self.raw("b", "plane1")
        header = (receiver.getsockname()[4] + sender.getsockname()[4]
                  + struct.pack("!H", ETHERTYPE))

        def burst(packets):
            """(how many came, seconds until the last was there)"""
            began = ended = time.monotonic()
            for _ in range(packets):
                sender.send(header.ljust(FRAME_BYTES, b"."))
            came = 0
            while select.select([receiver], [], [], 0.3)[0]:
                receiver.recv(65536)
                ended = time.monotonic()
                came += 1
            return came, ended - began

        self.addCleanup(path, 1, "--clear")
        came, took = burst(150)  # Less than the queue of the switch.
        self.assertEqual(came, 150)
        # But for what the bucket held, not sooner than the rate allows.
        self.assertGreater(took, 120 * FRAME_BYTES * 8 / 100e6)
        path(1, "--loss", "50%")
        self.assertTrue(40 < burst(150)[0] < 110)
        path(1, "--dark")
        self.assertEqual(burst(20)[0], 0)

    def test_exec_tells_of_them(self):
        said = dict(line.split("=", 1) for line in
                    must("exec", "b", "--", "env").splitlines() if "=" in line)
        self.assertEqual(said["HAWSER_DATAPATH"], "dpdk")
        self.assertEqual(said["HAWSER_IFNAME"], "eth0")
        self.assertIn("net_af_packet1,iface=plane1", said["HAWSER_DPDK_EAL"])
        self.assertIn("net_af_packet1 10.77.1.2/24 neighbour 10.77.1.1=02:48:",
                      said["HAWSER_DPDK_PORTS"])
        # Handshakes go over what the kernel keeps.
        self.assertTrue(arrives(self.udp("a"), self.udp("b", "10.76.0.2", PORT),
                                ("10.76.0.2", PORT)))

    def test_memif_is_no_path(self):
        other = NAME + "m"
        self.addCleanup(testbed, "down", name=other)
        must("up", "--planes", 2, "--dpdk", "memif", name=other)
        said = must("exec", "b", "--", "env", name=other)
        self.assertIn("role=client,socket-abstract=no,socket="
                      f"{STATE_DIRECTORY}/{other}-plane1.sock", said)
        self.assertEqual(testbed("path", 1, "--dark", name=other)[0], 2)
        (STATE_DIRECTORY / f"{other}-plane1.sock").touch()
        must("down", name=other)
        self.assertEqual(leftovers(other), [])


class Delay(OnTestbed):

    UP = ("--planes", 2, "--rate", "100mbit", "--delay", "5ms")

    def check_round_trip(self, plane, delay_ms):
        """The least is what the path takes; a busy machine adds to the others,
        for as long as it is busy."""
        a, b, to = self.pair(plane)
        least_ms = float("inf")
        until = time.monotonic() + 20
        trips = 0
        while trips < 20 or (least_ms >= delay_ms + 1.5
                             and time.monotonic() < until):
            began = time.monotonic()
            a.sendto(b"there", to)
            b.recv(100)
            b.sendto(b"back", a.getsockname())
            a.recv(100)
            least_ms = min(least_ms, 1e3 * (time.monotonic() - began))
            trips += 1
        a.close()
        b.close()
        self.assertGreaterEqual(least_ms, delay_ms)
        self.assertLess(least_ms, delay_ms + 1.5)

    def test_delay_and_its_change(self):
        for plane in range(2):
            self.check_round_trip(plane, 10)
        path(1, "--delay", "20ms", "--from", "b")
        self.addCleanup(path, 1, "--clear")
        self.check_round_trip(1, 25)
        self.check_round_trip(0, 10)

    def test_rate_and_loss_hold_with_a_delay(self):
        sender, receiver, to = self.pair(0)
        with Stream(to, sender, receiver) as stream:
            self.check_rate(stream, 100)
            path(0, "--dark")
            self.addCleanup(path, 0, "--clear")
            dark = time.time()
            time.sleep(0.3)
            self.assertLess(stream.times[-1], dark)


class NothingStays(unittest.TestCase):

    def setUp(self):
        self.addCleanup(testbed, "down")
        self.assertEqual(leftovers(), [])

    def check_nothing_stays(self):
        self.assertTrue(wait_until(lambda: not leftovers()), leftovers())

    def test_down(self):
        must("up", "--planes", 1, "--delay", "1ms")
        visitor = start("exec", "a", "--", "sleep", "1000")
        self.assertTrue(wait_until(lambda: subprocess.run(
            ["ip", "netns", "pids", f"{NAME}-a"], capture_output=True,
            text=True, check=True).stdout.split().count(str(visitor.pid))))
        self.assertIn("and 1 processes", must("down"))
        self.assertEqual(visitor.wait(10), -signal.SIGTERM)
        visitor.communicate()
        self.check_nothing_stays()
        self.assertEqual(testbed("down")[0], 0, "nothing to do is no error")

    def test_up_that_cannot_go_on(self):
        mine = f"{NAME}-rb"
        subprocess.run(["ip", "netns", "add", mine], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", mine],
                        check=True)
        status, _, err = testbed("up", "--routes", 2)
        self.assertEqual(status, 1)
        self.assertIn(mine, err)
        self.assertEqual(leftovers(), [f"/run/netns/{mine}"], "not ours")

    def test_up_that_is_stopped(self):
        for number, wait_s in ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.5),
                               (signal.SIGINT, 0.7)):
            process = start("up", "--routes", 8, "--delay", "1ms")
            time.sleep(wait_s)  # Anywhere in the middle.
            process.send_signal(number)
            _, err = process.communicate(timeout=20)
            if process.returncode == 0:  # It was done already.
                must("down")
            else:
                # By itself, or before it had read its own first line.
                self.assertIn(process.returncode, (128 + number, -number), err)
            self.assertEqual(leftovers(), [])

    def test_up_that_is_killed_can_be_taken_down(self):
        process = start("up", "--routes", 8, "--delay", "1ms")
        self.assertTrue(wait_until(
            lambda: Path(f"/run/netns/{NAME}-rb").exists()))
        process.kill()
        process.communicate()
        status, _, err = testbed("status")
        if status != 0:
            self.assertIn("half made", err)
        must("down")
        self.check_nothing_stays()

    def test_run(self):
        script = f"{sys.executable} {TESTBED} exec a -- true && exit 9"
        status, _, err = testbed("run", "--planes", 2, "--", "sh", "-c", script)
        self.assertEqual(status, 9, err)
        self.check_nothing_stays()
        self.assertEqual(testbed("run", "--planes", 1, "--", "no-such")[0], 127)
        self.check_nothing_stays()

    def test_run_that_ends_in_any_way(self):
        for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143),
                                 (signal.SIGKILL, -9)):
            process = start("run", "--planes", 2, "--", "sh", "-c",
                            "echo $$; exec sleep 1000")
            sleeper = int(process.stdout.readline())
            process.send_signal(number)
            self.assertEqual(process.wait(20), expected)
            self.check_nothing_stays()
            if number == signal.SIGKILL:  # Not on a host: nobody ends it.
                os.kill(sleeper, signal.SIGKILL)
            process.communicate()
            self.assertTrue(wait_until(lambda: not is_alive(sleeper)))


class WhatIsMissing(unittest.TestCase):

    def test_programs(self):
        status, _, err = testbed("up", "--planes", 1,
                                 env={**os.environ, "PATH": "/nonexistent"})
        self.assertEqual(status, NOT_HERE)
        self.assertIn("apt-get install ethtool iproute2 nftables", err)

    def test_root(self):
        # All is loaded first: Python may live where only root may read.
        done = subprocess.run(
            [sys.executable, "-c", "import os, runpy, sys; sys.argv.pop(0); "
             "main = runpy.run_path(sys.argv[0], run_name='testbed')['main']; "
             "os.setuid(65534); sys.exit(main())", TESTBED, "up", "--planes",
             "1"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, NOT_HERE, done.stderr)
        self.assertIn("root", done.stderr)

    def test_no_such_testbed(self):
        for words in (("status",), ("path", 0, "--dark"),
                      ("exec", "a", "--", "true")):
            status, _, err = testbed(*words, name=NAME + "none")
            self.assertEqual(status, 1)
            self.assertIn(f"no testbed '{NAME}none'", err)


def why_not():
    """What keeps testbeds from being made here; None: nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("ip", "tc", "nft", "ethtool"):
        if not shutil.which(program):
            return f"needs {program}"
    status, _, err = testbed("up", "--planes", 1)
    testbed("down")
    return err.strip() if status == NOT_HERE else None


if __name__ == "__main__":
    REASON = why_not()
    if REASON:
        print(f"skipped: {REASON}")
        sys.exit(SKIPPED)
    unittest.main()
