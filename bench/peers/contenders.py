"""Who is compared, and how each is made to do the same work."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import machine
import parse
from processes import Child, Failed, free_port, wait_listening

# 1 MB writes are what iperf3 is fastest with; the others' messages are as
# large.
MESSAGE_BYTES = 1 << 20
PING_BYTES = 64
# Messages at once over RDMA, for both.
_OUTSTANDING = 32
_PERFTEST_PINGS = 2000
_PATIENCE_S = 20  # Beyond the duration of a run; whoever hangs fails.
# As fine as iperf3 tells what has arrived.
_IPERF3_PERIOD_S = 0.1
# So many messages tell how fast it is on loopback.
_UCX_TRIAL_MESSAGES = 200
# So many times as long as it should may it take.
_UCX_STRETCH = 5
_UCX_WARMUPS = 5


def _not_built(*files):
    for file in files:
        if not file.exists():
            return f"{os.path.relpath(file)} is not built"
    return ""


# ---------------------------------------------------------------------------
# Point to point: measure() returns bytes, seconds, gbps, cpu_s_per_gb.


def _with_cpu(result, *children):
    result["cpu_s"] = sum(child.cpu_s for child in children)
    result["cpu_s_per_gb"] = result["cpu_s"] / max(result["bytes"] / 1e9, 1e-9)
    return result


class HawserStream:
    name, title, peer = "hawser", "Hawser", None
    # Our own header is inside the 1472 bytes, and counts against us.
    payload_bytes = 1472

    def __init__(self, build):
        self._program = build / "hawser_perf"

    def missing(self):
        return _not_built(self._program)

    def measure(self, place, duration_s):
        port = free_port()
        # A byte stream uses one buffer over and over. With two, messages
        # overlap as its writes do, and its cache is not held against us.
        depth = ("--depth", 2) if place.one_host else ()
        text, children = _hawser_perf(
            self._program, place, port, duration_s,
            "--size", MESSAGE_BYTES, *depth)
        return _with_cpu(parse.hawser_stream(text), *children)


def _hawser_perf(program, place, port, duration_s, *options, prefix=()):
    with tempfile.TemporaryDirectory(prefix="hawser-peers-") as folder:
        file = Path(folder, "out.json")
        server = Child(place.words("b", *prefix, program, "server", "--once",
                                   "--quiet", "--port", port),
                       place.environment)
        try:
            wait_listening(server, port)
            client = Child(
                place.words("a", *prefix, program, "client",
                            place.address("b"), "--port", port, "--duration",
                            duration_s, "--quiet", "--json", file, *options),
                place.environment)
            try:
                client.finish(duration_s + _PATIENCE_S)
                server.wait(_PATIENCE_S)
            finally:
                client.end()
        finally:
            server.end()
        return file.read_text(encoding="utf-8"), (client, server)


class HawserRdma:
    """One of the modes of the verbs datapath."""

    peer = None

    def __init__(self, build, mode, size_bytes):
        self._program, self._size = build / "hawser_perf", size_bytes
        self._mode = ("env", f"HAWSER_VERBS_MODE={mode}")
        self.name, self.title = f"hawser-{mode}", f"Hawser {mode}"

    def missing(self):
        return _not_built(self._program)

    def measure(self, place, duration_s):
        text, children = _hawser_perf(
            self._program, place, free_port(), duration_s, "--size",
            self._size, "--depth", _OUTSTANDING, prefix=self._mode)
        return _with_cpu({**parse.hawser_stream(text),
                          "shares": parse.hawser_shares(text)}, *children)

    def ping(self, place, duration_s):
        text, _ = _hawser_perf(
            self._program, place, free_port(), duration_s, "--latency",
            "--size", PING_BYTES, prefix=self._mode)
        return parse.hawser_round_trips(text)


class Perftest:
    """perftest over one queue pair of a type: a program and its options."""

    peer = machine.PEERS["perftest"]

    def __init__(self, program, kind, size_bytes):
        self._program, self._kind, self._size = program, kind, size_bytes
        self.name = f"{program}-{kind}"
        self.title = f"{program} {kind}"

    def missing(self):
        return self.peer.missing()

    def measure(self, place, duration_s):
        # All of the time counts, as it does for everybody else, and not only
        # what lies within margins of up to 2 s: the trouble may lie in those.
        text, children = self._run(place, duration_s, "-D", duration_s,
                                   "-f", 0, "--report_gbits", "-t",
                                   _OUTSTANDING)
        return _with_cpu(parse.perftest_stream(text), *children)

    def ping(self, place, duration_s):
        text, _ = self._run(place, duration_s, "-n", _PERFTEST_PINGS)
        return parse.perftest_round_trips(text)

    def _run(self, place, duration_s, *options):
        port = free_port()

        def words(side, *where):
            return place.words(side, self._program, "-c", self._kind, "-d",
                               place.device(side), "-x", 1, "-F", "-p", port,
                               "-s", self._size, *options, *where)
        server = Child(words("b"), name=self._program)
        try:
            wait_listening(server, port)
            client = Child(words("a", place.address("b")), name=self._program)
            try:
                text = client.finish(duration_s + _PATIENCE_S)
                server.wait(_PATIENCE_S)
            finally:
                client.end()
        finally:
            server.end()
        return text, (client, server)


class TcpStream:
    """One TCP connection; or one of Multipath TCP, which looks the same to
    iperf3."""

    peer = machine.PEERS["tcp"]
    name, title = peer.name, peer.title
    payload_bytes = 1448  # With the time stamps that Linux sends.
    prefix = ()

    def missing(self):
        return self.peer.missing()

    def measure(self, place, duration_s):
        port = free_port()
        server = Child(place.words("b", *self.prefix, "iperf3", "-s", "-1",
                                   "-J", "-i", _IPERF3_PERIOD_S, "-p", port))
        try:
            wait_listening(server, port)
            client = Child(place.words(
                "a", *self.prefix, "iperf3", "-c", place.address("b"), "-p",
                port, "-C", "cubic", "-l", MESSAGE_BYTES, "-t", duration_s,
                "-J"))
            try:
                client.finish(duration_s + _PATIENCE_S)
                text = server.finish(_PATIENCE_S)
            finally:
                client.end()
        finally:
            server.end()
        return _with_cpu(parse.iperf3(text, _IPERF3_PERIOD_S), client, server)


class MptcpStream(TcpStream):
    peer = machine.PEERS["mptcp"]
    name, title = peer.name, peer.title
    prefix = ("mptcpize", "run")

    def __init__(self, planes=1):
        self._planes = planes

    def prepare(self, place):
        """The other planes are announced by the server and joined by the
        client: one subflow to a plane. (Subflow endpoints on the client as
        well would only send more subflows over the first plane.)"""
        for side in "ab":
            place.run_on(side, "sysctl", "-qw", "net.mptcp.enabled=1")
            place.run_on(side, "ip", "mptcp", "limits", "set", "subflows", 8,
                         "add_addr_accepted", 8)
        for plane in range(1, self._planes):
            place.run_on("b", "ip", "mptcp", "endpoint", "add",
                         place.address("b", plane), "dev",
                         place.devices[plane], "signal")

    def measure(self, place, duration_s):
        if self._planes == 1:
            return super().measure(place, duration_s)
        before = self._joined(place)
        result = super().measure(place, duration_s)
        joined = self._joined(place) - before
        # It falls back to plain TCP without a word.
        if joined == 0:
            raise Failed("MPTCP: no second subflow joined the connection")
        result["joins"] = joined  # Those of iperf3's control line as well.
        return result

    @staticmethod
    def _joined(place):
        return parse.join_count(place.run_on("b", "cat", "/proc/net/netstat"))


@contextlib.contextmanager
def _ucx_perftest(place, environment, test, size_bytes, count, warmups):
    """Within, both ends of it: (client, server)."""
    port = free_port()
    environment = {**environment, "UCX_WARN_UNUSED_ENV_VARS": "n"}
    words = ("ucx_perftest", "-t", test, "-s", size_bytes, "-n", count,
             "-w", warmups, "-p", port)
    server = Child(place.words("b", *words), environment)
    try:
        wait_listening(server, port)
        client = Child(place.words("a", words[0], place.address("b"),
                                   *words[1:]), environment)
        try:
            yield client, server
        finally:
            client.end()
    finally:
        server.end()


def _ucx_rows(client):
    return [row for _, line in client.lines if (row := parse.ucx_row(line))]


def _ucx_round_trips(rows):
    if not rows:
        raise parse.Unreadable("ucx_perftest printed no result")
    # Its latency is one way: half a round trip.
    return {"count": rows[-1][0], "p50_us": 2 * rows[-1][1]}


class UcxStream:
    peer = machine.PEERS["ucx"]
    payload_bytes = 1448

    def __init__(self, rails):
        self._rails = rails
        self.name = f"ucx{rails}"
        self.title = f"UCX tcp, {rails} rail" + ("s" if rails > 1 else "")
        self._mbps = None  # On loopback: what the last run reached.

    def missing(self):
        return self.peer.missing()

    def measure(self, place, duration_s):
        # It takes a number of messages, not a duration; and what it prints
        # meanwhile counts messages that were only begun. So it gets as many as
        # should last so long, and may take longer where it is slow.
        mbps = self._mbps or place.rate_mbps and place.rate_mbps * self._rails
        if not mbps:
            trial = self._run(place, _UCX_TRIAL_MESSAGES, _PATIENCE_S)
            mbps = trial["gbps"] * 1e3
        messages = max(_UCX_TRIAL_MESSAGES // 10,
                       round(mbps * 1e6 / 8 * duration_s / MESSAGE_BYTES))
        result = self._run(place, messages, _UCX_STRETCH * duration_s)
        if not place.rate_mbps:
            self._mbps = result["gbps"] * 1e3
        return result

    def _run(self, place, messages, limit_s):
        environment = {"UCX_TLS": "tcp",
                       "UCX_NET_DEVICES": ",".join(
                           place.devices[:self._rails]),
                       "UCX_MAX_RNDV_RAILS": str(self._rails),
                       "UCX_MAX_EAGER_RAILS": str(self._rails)}
        with _ucx_perftest(place, environment, "tag_bw", MESSAGE_BYTES,
                           messages, _UCX_WARMUPS) as (client, server):
            status = client.wait(limit_s + _PATIENCE_S)
            now = time.monotonic()
            if status not in (None, 0):
                raise Failed(client.complaint())
            if status == 0:
                server.wait(_PATIENCE_S)
        rows = _ucx_rows(client)
        if status == 0:
            result = parse.ucx_stream(rows[-1:], MESSAGE_BYTES)
        else:  # It hangs. What it did counts, over all of this time.
            result = parse.ucx_stalled(rows, MESSAGE_BYTES,
                                       now - client.began)
        return _with_cpu(result, client, server)


class UcxRdma:
    """UCX over one RDMA device, by one of its transports."""

    peer = machine.PEERS["ucx"]
    _WINDOW_MESSAGES = 400

    def __init__(self, transport, size_bytes):
        self._environment = {"UCX_TLS": f"{transport},self"}
        self._size = size_bytes
        self.name, self.title = f"ucx-{transport}", f"UCX {transport}"

    def missing(self):
        return self.peer.missing()

    def measure(self, place, _duration_s):
        client, server = self._run(place, "tag_bw", self._size,
                                   self._WINDOW_MESSAGES)
        return _with_cpu(parse.ucx_stream(_ucx_rows(client)[-1:], self._size),
                         client, server)

    def ping(self, place, _duration_s):
        client, _ = self._run(place, "tag_lat", PING_BYTES, _PERFTEST_PINGS)
        return _ucx_round_trips(_ucx_rows(client))

    def _run(self, place, test, size_bytes, count):
        with _ucx_perftest(place, self._environment, test, size_bytes, count,
                           _UCX_WARMUPS) as ends:
            ends[0].finish(_PATIENCE_S)
        return ends


# ---------------------------------------------------------------------------
# Latency: measure() returns p50_us and, where it is told, p99_us, p99_9_us.


class HawserPing:
    peer = None

    def __init__(self, build, blocking):
        self._program = build / "hawser_perf"
        self._options = ("--blocking",) if blocking else ()
        self.name = "hawser-blocking" if blocking else "hawser"
        self.title = "Hawser, --blocking" if blocking else "Hawser"

    def missing(self):
        return _not_built(self._program)

    def measure(self, place, duration_s):
        text, _ = _hawser_perf(
            self._program, place, free_port(), duration_s, "--latency",
            "--size", PING_BYTES, *self._options)
        return parse.hawser_round_trips(text)


class UdpPing:
    peer = machine.PEERS["udp"]
    name, title = peer.name, peer.title

    def missing(self):
        return self.peer.missing()

    def measure(self, place, duration_s):
        program = machine.compile_peer("udp_ping_pong.cc", "g++")
        port = free_port()
        address = place.address("b")
        server = Child(place.words("b", program, "server", address, port))
        try:
            wait_listening(server, port, "udp")
            client = Child(place.words("a", program, "client", address, port,
                                       PING_BYTES, duration_s))
            try:
                text = client.finish(duration_s + _PATIENCE_S)
            finally:
                client.end()
        finally:
            server.end()
        return parse.udp_ping_pong(text)


class UcxPing:
    peer = machine.PEERS["ucx"]
    name, title = peer.name, peer.title + ", polling"
    _COUNT = 20_000

    def missing(self):
        return self.peer.missing()

    def measure(self, place, duration_s):
        environment = {"UCX_TLS": "tcp", "UCX_NET_DEVICES": place.devices[0]}
        with _ucx_perftest(place, environment, "tag_lat", PING_BYTES,
                           self._COUNT, self._COUNT // 10) as (client, _):
            # Where both spin and others want the cores, it takes long; its
            # rows until then are as good.
            if client.wait(_UCX_STRETCH * duration_s) not in (None, 0):
                raise Failed(client.complaint())
        return _ucx_round_trips(_ucx_rows(client))


# ---------------------------------------------------------------------------
# All-reduce: measure() returns time_us and busbw, in GB/s as nccl-tests
# defines it.


def _all_reduce(size_bytes, ranks, time_us):
    busbw = size_bytes * 2 * (ranks - 1) / ranks / time_us / 1e3
    return {"time_us": time_us, "busbw": busbw}


def _work(iterations):
    """(iterations, warm-ups): the same for all."""
    return iterations, max(2, iterations // 10)


class HawserAllReduce:
    name, title, peer = "hawser", "Hawser", None
    payload_bytes = 1472

    def __init__(self, build):
        self._program = build / "all_reduce_perf"
        self._plugin = build / "libnccl-net-hawser.so"

    def missing(self):
        return _not_built(self._program, self._plugin)

    def measure(self, place, size_bytes, ranks, iterations, limit_s):
        iterations, warmups = _work(iterations)
        with tempfile.TemporaryDirectory(prefix="hawser-peers-") as folder:
            file = Path(folder, "out.json")
            words = [self._program, "--plugin", self._plugin, "--ranks", ranks,
                     "-b", size_bytes, "-e", size_bytes, "-n", iterations,
                     "-w", warmups, "-c", 1]
            if place.one_host:
                children = [Child([*words, "--json", file],
                                  place.environment)]
            else:
                root = f"{place.address('a')}:{free_port()}"
                children = [
                    Child(place.words(side, *words, "--root", root, "--rank",
                                      rank, *(["--json", file] if rank == 0
                                              else [])), place.environment)
                    for rank, side in enumerate("ab")]
            _finish_all(children, limit_s)
            text = file.read_text(encoding="utf-8")
        return _all_reduce(size_bytes, ranks, parse.all_reduce_perf(text))


def _finish_all(children, limit_s):
    """The output of the first; if one fails, all are ended."""
    try:
        # Whoever fails ends first, and the others hang on it: look for that.
        deadline = time.monotonic() + limit_s
        while True:
            states = [child.wait(0.01) for child in children]
            for child, state in zip(children, states):
                if state not in (None, 0):
                    raise Failed(child.complaint())
            if None not in states:
                return children[0].text()
            if time.monotonic() > deadline:
                raise Failed(f"{children[0].name}: still running after "
                             f"{limit_s:.0f} s")
    finally:
        for child in children:
            child.end()


class OpenMpiAllReduce:
    peer = machine.PEERS["openmpi"]
    name, title = peer.name, peer.title
    payload_bytes = 1448
    # Root and more ranks than cores are allowed to it as they are to us, and
    # nobody is pinned; TCP is all it may use, which shared memory would beat
    # between processes of one host, and would not between hosts.
    _WORDS = ("mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to",
              "none", "--mca", "btl", "tcp,self", "--mca", "pml", "ob1")

    def missing(self):
        return self.peer.missing()

    def measure(self, place, size_bytes, ranks, iterations, limit_s):
        program = machine.compile_peer("mpi_all_reduce.cc", "mpicxx")
        work = (program, size_bytes, *_work(iterations))
        if place.one_host:
            text = Child([*self._WORDS, "--mca", "btl_tcp_if_include", "lo",
                          "-np", ranks, *work]).finish(limit_s)
            return _all_reduce(size_bytes, ranks,
                               parse.plain_all_reduce(text, size_bytes))
        with tempfile.TemporaryDirectory(prefix="hawser-peers-") as folder:
            agent = Path(folder, "agent")
            # What it starts on the other host by a remote shell is started in
            # the other namespace; under another host name, or it would take
            # both for one host.
            enter = " ".join(map(str, place.words("b", "unshare", "-u")))
            agent.write_text(
                "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\n"
                f"shift\nexec {enter} sh -c \"hostname peer-b; $*\"\n",
                encoding="ascii")
            agent.chmod(0o755)
            networks = [place.address("a", plane).rpartition(".")[0] + ".0/24"
                        for plane in range(place.planes)]
            hosts = f"{place.address('a')}:1,{place.address('b')}:1"
            text = Child(place.words(
                "a", *self._WORDS, "--mca", "plm_rsh_agent", agent, "--mca",
                "oob_tcp_if_include", networks[0], "--mca",
                "btl_tcp_if_include", ",".join(networks), "-host", hosts,
                "-np", ranks, *work)).finish(limit_s)
        return _all_reduce(size_bytes, ranks,
                           parse.plain_all_reduce(text, size_bytes))


class GlooAllReduce:
    """Over one path: it knows no more."""

    peer = machine.PEERS["gloo"]
    name, title = peer.name, peer.title
    payload_bytes = 1448

    def missing(self):
        return self.peer.missing()

    def measure(self, place, size_bytes, ranks, iterations, limit_s):
        program = machine.compile_peer("gloo_all_reduce.cc", "g++",
                                       ("-lgloo", "-lpthread"))
        store = tempfile.mkdtemp(prefix="hawser-peers-")
        try:
            children = []
            for rank in range(ranks):
                side = "ab"[rank % 2] if not place.one_host else "a"
                children.append(Child(place.words(
                    side, program, rank, ranks, store, place.address(side),
                    size_bytes, *_work(iterations))))
            text = _finish_all(children, limit_s)
        finally:
            shutil.rmtree(store, ignore_errors=True)
        return _all_reduce(size_bytes, ranks,
                           parse.plain_all_reduce(text, size_bytes))
