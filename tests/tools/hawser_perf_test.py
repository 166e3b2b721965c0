"""hawser_perf, server and client, over loopback: figures that agree with each
other, and errors that come in time.

Usage: hawser_perf_test.py PROGRAM [unittest arguments]
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])

RUN_LIMIT_S = 60  # Far above any run here, even under a sanitizer.
# No test but one waits for it, and a machine that is busy with other things may
# keep a side from its work for seconds.
PEER_TIMEOUT_MS = 60_000
SHORT_PEER_TIMEOUT_MS = 1000
# In which a client whose server fell silent must have ended: the short timeout,
# and what a busy machine adds.
END_LIMIT_S = 10


def start(*options, before=None, **environment):
    """`before` is called in the new process, before the program."""
    env = {**os.environ, "HAWSER_IFNAME": "lo", "HAWSER_PATHS": "4",
           "HAWSER_PEER_TIMEOUT_MS": str(PEER_TIMEOUT_MS), **environment}
    return subprocess.Popen([PROGRAM, *map(str, options)], text=True, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=before)


def finish(process, limit_s=RUN_LIMIT_S):
    """(status, stdout, stderr); the process is ended if it hangs."""
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, err


class Server:
    """A server on a port of its own."""

    def __init__(self, *options, **more):
        self.process = start("server", "--bind", "127.0.0.1", "--port", 0,
                             *options, **more)
        line = self.process.stdout.readline()
        if not line.startswith("hawser_perf server at "):
            raise AssertionError(line + self.process.stderr.read())
        self.port = line.rpartition(":")[2].strip()

    def client(self, *options, **environment):
        return start("client", "127.0.0.1", "--port", self.port, *options,
                     **environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


class Measures(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        # One server for all of these, and it is as good as new.
        assert cls.server.process.poll() is None
        cls.server.__exit__()

    def measure(self, *options):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "perf.json")
            status, out, err = finish(self.server.client(
                "--duration", 1, "--json", name, *options))
            self.assertEqual(status, 0, out + err)
            self.assertEqual(err, "")
            with open(name, encoding="utf-8") as file:
                document = json.load(file)
        self.assertIsNone(document["error"])
        for side in ("client", "server"):
            self.check_side(document[side])
        return document, out

    def check_side(self, side):
        """What holds whatever was measured."""
        self.assertGreater(side["seconds"], 0.9)
        self.assertGreater(side["cpu"]["user_s"] + side["cpu"]["system_s"], 0)
        self.assertEqual([one["name"] for one in side["interfaces"]], ["lo"])
        self.assertEqual(side["config"]["HAWSER_PATHS"], "4")
        self.assertIn("engines", side["endpoint"])
        series = side["series"]
        self.assertEqual(series["period_ms"], 50)
        self.assertEqual(series["at_ms"], sorted(series["at_ms"]))
        self.assertGreater(len(series["at_ms"]), 3)
        for way in ("sent", "received"):
            if side[way] is None:
                self.assertEqual(sum(series[way + "_bytes"]), 0)
                continue
            self.assertEqual(sum(series[way + "_bytes"]), side[way]["bytes"])
            self.assertLessEqual(side[way]["longest_gap_ms"],
                                 side["seconds"] * 1e3)
        self.assertEqual([path["path"] for path in side["paths"]],
                         [0, 1, 2, 3])
        self.assertAlmostEqual(sum(path["share"] for path in side["paths"]), 1)
        for path in side["paths"]:
            self.assertEqual(path["plane"], "lo")
            self.assertIn(path["state"], ("open", "suspect"))
            for key in ("packets_resent", "ecn_marked", "times_suspect"):
                self.assertIsInstance(path[key], int)
            self.assertGreaterEqual(path["bytes_sent"],
                                    path["bytes_delivered"])
            self.assertGreaterEqual(path["packets_lost"],
                                    path["packets_spurious"])
            self.assertGreater(path["window_bytes"], 0)
            if path["bytes_delivered"] > 0:
                self.assertGreater(path["rtt_us"], 0)
            self.assertEqual(len(path["series"]["states"]),
                             len(series["at_ms"]))
            self.assertRegex(path["series"]["states"], "^[.s]*$")
            self.assertLessEqual(sum(path["series"]["delivered_bytes"]),
                                 path["bytes_delivered"])

    def check_direction(self, document, way, sender, receiver, size):
        direction = document[way]
        self.assertGreater(direction["messages"], 0)
        self.assertEqual(direction["bytes"], direction["messages"] * size)
        self.assertEqual(document[sender]["sent"]["bytes"], direction["bytes"])
        self.assertEqual(document[receiver]["received"]["bytes"],
                         direction["bytes"])
        self.assertAlmostEqual(
            direction["goodput_gbps"],
            direction["bytes"] * 8 / direction["seconds"] / 1e9)
        self.assertAlmostEqual(direction["goodput_mbytes_per_s"] * 8 / 1e3,
                               direction["goodput_gbps"])
        self.assertEqual(
            direction["longest_gap_ms"],
            document[receiver]["received"]["longest_gap_ms"])

    def test_client_to_server(self):
        document, out = self.measure()
        self.check_direction(document, "forward", "client", "server", 1 << 20)
        self.assertIsNone(document["backward"])
        self.assertIsNone(document["server"]["sent"])
        self.assertIsNone(document["round_trip"])
        self.assertEqual(document["goodput_gbps"],
                         document["forward"]["goodput_gbps"])
        self.assertAlmostEqual(
            document["cpu"]["s_per_gb"],
            document["cpu"]["client"]["s_per_gb"] +
            document["cpu"]["server"]["s_per_gb"])
        self.assertEqual(document["plan"], {
            "size_bytes": 1 << 20, "duration_s": 1, "flows": 1, "depth": 8,
            "forward": True, "backward": False, "latency": False,
            "verify": False, "blocking": False})
        self.assertRegex(out, r"\n# client -> server: .* Gb/s, .* MB/s; longest"
                              r" gap .* ms")
        self.assertRegex(out, r"\n +1\.\d+ +\d+\.\d+ +\d+\.\d+ +4/4 ")
        self.assertEqual(out.count(" lo  "), 4)  # The paths of who sends.
        self.assertIn("s/GB", out)

    def test_server_to_client(self):
        document, out = self.measure("--reverse", "--blocking", "--size", "64K")
        self.check_direction(document, "backward", "server", "client", 65536)
        self.assertIsNone(document["forward"])
        self.assertIn("# server -> client: ", out)

    def test_both_ways_verified(self):
        document, out = self.measure("--both-ways", "--flows", 3, "--verify",
                                     "--size", 100003, "--depth", 3)
        for way, sender, receiver in (("forward", "client", "server"),
                                      ("backward", "server", "client")):
            self.check_direction(document, way, sender, receiver, 100003)
        self.assertEqual(document["wrong_messages"], 0)
        self.assertIn("# Wrong messages: 0 OK", out)
        self.assertEqual(out.count(" lo  "), 8)

    def test_latency(self):
        document, out = self.measure("--latency")
        trips = document["round_trip"]
        self.assertGreater(trips["count"], 10)
        order = [trips[key] for key in ("min_us", "p50_us", "p90_us", "p99_us",
                                        "p99_9_us", "max_us")]
        # Those in between are rounded.
        for low, high in zip(order, order[1:]):
            self.assertLessEqual(low, high * 1.001 + 0.001)
        self.assertGreater(trips["min_us"], 1)
        self.assertEqual(document["plan"]["size_bytes"], 64)
        self.assertEqual(document["forward"]["messages"],
                         document["backward"]["messages"])
        self.assertGreater(document["cpu"]["us_per_round_trip"], 0)
        self.assertIn("# round trip of 64 bytes", out)

    def test_sizes_at_the_edges(self):
        for options in (("--size", 1, "--depth", 32),
                        # Where a sanitizer looks at 16 MiB, it takes long.
                        ("--size", "16M", "--duration", 4),
                        ("--latency", "--depth", 1, "--size", "300K"),
                        # The test ends while one is on its way.
                        ("--latency", "--depth", 1, "--size", "64M")):
            with self.subTest(options=options):
                self.measure("--quiet", "--verify", *options)

    def test_interrupt_shows_the_results(self):
        with self.server.client("--duration", 60) as client:
            while "paths open" not in client.stdout.readline():
                pass
            client.stdout.readline()  # A second of it.
            client.send_signal(signal.SIGINT)
            status, out, err = finish(client, END_LIMIT_S)
        self.assertEqual(status, 0, err)
        self.assertIn("# client -> server: ", out)

    def test_a_client_that_dies_leaves_the_server_well(self):
        with self.server.client("--duration", 60) as client:
            while "paths open" not in client.stdout.readline():
                pass
            client.kill()
        self.measure("--quiet")

    def test_strangers(self):
        port = int(self.server.port)
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"{}\n",
                      b'{"hawser_perf":1,"plan":{"flows":-1},"handles":[]}\n',
                      b'{"hawser_perf":1,"plan":7,"handles":7}\n',
                      b'{"hawser_perf":2}\n', b"\xff\xfe\n"):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(words)
                stranger.shutdown(socket.SHUT_WR)
                stranger.settimeout(END_LIMIT_S)
                while stranger.recv(4096):
                    pass
        self.measure("--quiet")


class Failures(unittest.TestCase):

    def run_until(self, server, action, **environment):
        """What a client says after `action` in the middle of its test."""
        with server.client("--duration", 60, **environment) as client:
            while "paths open" not in client.stdout.readline():
                pass
            client.stdout.readline()
            began = time.monotonic()
            action()
            status, _, err = finish(client, END_LIMIT_S)
            self.assertLess(time.monotonic() - began, END_LIMIT_S)
        self.assertEqual(status, 1, err)
        self.assertEqual(len(err.splitlines()), 1, err)
        return err

    def test_a_server_that_is_killed(self):
        with Server() as server:
            err = self.run_until(server, server.process.kill)
        self.assertRegex(err, "closed the control line|reset|lost")

    def test_a_server_that_falls_silent(self):
        with Server() as server:
            err = self.run_until(
                server, lambda: server.process.send_signal(signal.SIGSTOP),
                HAWSER_PEER_TIMEOUT_MS=str(SHORT_PEER_TIMEOUT_MS))
        self.assertRegex(err, r"send \d+ of flow 0: peer .* is lost: nothing "
                              r"was heard")

    def test_a_second_client_is_refused(self):
        with Server() as server, server.client("--duration", 60) as first:
            while "paths open" not in first.stdout.readline():
                pass
            status, _, err = finish(server.client(), END_LIMIT_S)
            self.assertEqual(status, 1)
            self.assertRegex(err, r"refuses: it is busy with a test of "
                                  r"127\.0\.0\.1:\d+; try again later")
            first.send_signal(signal.SIGINT)
            status, _, err = finish(first, END_LIMIT_S)
            self.assertEqual(status, 0, err)

    def test_nobody_there(self):
        with Server() as server:
            pass
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "perf.json")
            status, _, err = finish(server.client("--json", name))
            with open(name, encoding="utf-8") as file:
                document = json.load(file)
        self.assertEqual(status, 1)
        self.assertRegex(err, "no server answers at 127.0.0.1, port .*refused")
        self.assertIn(document["error"], err)
        self.assertEqual(document["plan"]["flows"], 1)
        for side in ("client", "server", "forward", "backward"):
            self.assertIsNone(document[side])

    def test_somebody_else_there(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            client = start("client", "127.0.0.1", "--port",
                           other.getsockname()[1])
            accepted, _ = other.accept()
            with accepted:
                accepted.sendall(b"220 mail.example.com ESMTP\r\n")
                status, _, err = finish(client, END_LIMIT_S)
        self.assertEqual(status, 1)
        self.assertIn("is no hawser_perf", err)

    def test_more_than_there_is_memory_for(self):
        little = lambda: resource.setrlimit(resource.RLIMIT_AS,
                                            (400 << 20, 400 << 20))
        try:
            server = Server(before=little)
        except AssertionError:
            self.skipTest("a sanitizer takes all addresses there are")
        with server:
            for client in (server.client("--size", "512M", "--depth", 1),
                           start("client", "127.0.0.1", "--port", server.port,
                                 "--size", "512M", "--depth", 1,
                                 before=little)):
                status, _, err = finish(client)
                self.assertEqual(status, 1, err)
                self.assertIn("no memory for the buffers of flow 0, 512 MiB",
                              err)
            status, _, err = finish(server.client("--duration", 0.2, "-q"))
            self.assertEqual(status, 0, err)

    def test_once(self):
        with Server("--once") as server:
            status, _, err = finish(server.client("--duration", 0.2, "-q"))
            self.assertEqual(status, 0, err)
            status, out, err = finish(server.process, END_LIMIT_S)
            self.assertEqual((status, err), (0, ""), out)
            self.assertIn("client -> server, 0.2 s: received ", out)

    def test_what_does_not_fit_this_host(self):
        status, _, err = finish(start("server", "--port", 0,
                                      HAWSER_IFNAME="=nowhere"))
        self.assertEqual(status, 1)
        self.assertIn("nowhere", err)
        status, _, err = finish(start("client", "127.0.0.1",
                                      HAWSER_PATHS="many"))
        self.assertEqual(status, 1)
        self.assertIn("HAWSER_PATHS", err)
        status, _, err = finish(start("server", "--bind", "192.0.2.1"))
        self.assertEqual(status, 1)
        self.assertIn("cannot listen at 192.0.2.1", err)
        status, _, err = finish(start("client", "127.0.0.1", "--json",
                                      "/nonexistent/perf.json"))
        self.assertEqual(status, 1)
        self.assertIn("--json /nonexistent/perf.json", err)

    def test_bad_options(self):
        client = ("client", "127.0.0.1")
        bad = (
            (), ("both",), ("server", "word"), ("client",), ("client", ""),
            (*client, "word"), ("server", "--port", "65536"),
            ("server", "--size", "1M"), ("server", "--latency"),
            ("server", "--json", "x"), ("server", "--bind"),
            (*client, "--bind", "127.0.0.1"), (*client, "--once"),
            (*client, "--port", "0"), (*client, "--port", "x"),
            (*client, "--size", "0"), (*client, "--size", "-1"),
            (*client, "--size", "2G"), (*client, "--size", "4KB"),
            (*client, "--size", ""), (*client, "--duration", "0"),
            (*client, "--duration", "nan"), (*client, "--duration", "1e9"),
            (*client, "--flows", "0"), (*client, "--flows", "1025"),
            (*client, "--depth", "33"), (*client, "--depth", "two"),
            (*client, "--size", "1G", "--depth", "32"),
            (*client, "--reverse", "--both-ways"),
            (*client, "--latency", "--reverse"),
            (*client, "--latency", "--flows", "1"),
            (*client, "--unknown"), (*client, "-z"), (*client, "--json"),
        )
        for options in bad:
            with self.subTest(options=options):
                status, out, err = finish(start(*options))
                self.assertEqual(status, 2, err)
                self.assertEqual(out, "")
                self.assertEqual(len(err.splitlines()), 1, err)
                self.assertIn("--help", err)

    def test_help(self):
        status, out, _ = finish(start("--help"))
        self.assertEqual(status, 0)
        for word in ("--size", "--flows", "--latency", "--json", "--bind"):
            self.assertIn(word, out)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
