"""bench/peers: what it reads out of each program's output, what it makes of
it, and its command line. None of the peers needs to be installed.

Usage: peers_test.py [unittest arguments]
"""

import json
import subprocess
import sys
import tempfile
import time
import types
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
FOLDER = Path(__file__).resolve().parents[2] / "bench/peers"
sys.path.insert(0, str(FOLDER))

# pylint: disable=wrong-import-position
import machine
import parse
import processes
import scenarios
import tables

UCX = """\
+--------------+--------------+------------------------------+---------------------+-----------------------+
|              |              |       overhead (usec)        |   bandwidth (MB/s)  |  message rate (msg/s) |
|    Stage     | # iterations | 50.0%ile | average | overall |  average |  overall |  average  |  overall  |
+--------------+--------------+----------+---------+---------+----------+----------+-----------+-----------+
[thread 0]               120   3616.683  8564.166  8564.166      116.77     116.77         117         117
[thread 0]               209  11388.144 11233.595  9700.909       89.02     103.08          89         103
Final:                   300  11448.610 96166.492 11401.157       10.40      87.71          10          88
"""

IPERF3 = {
    "start": {"version": "iperf 3.12"},
    "intervals": [{"sum": {"bytes": count}}
                  for count in (5, 0, 7, 0, 0, 0, 9, 0)],
    "end": {"sum_sent": {"bytes": 2_000_000, "seconds": 2.0,
                         "bits_per_second": 8e6},
            "sum_received": {"bytes": 1_500_000, "seconds": 2.0,
                             "bits_per_second": 6e6}}}

HAWSER = {
    "hawser_perf": 1, "error": None, "wrong_messages": 0,
    "forward": {"bytes": 1 << 30, "seconds": 2.1, "goodput_gbps": 4.09,
                "longest_gap_ms": 12.5},
    "server": {"received": {"bytes": 1 << 30, "seconds": 2.0,
                            "goodput_gbps": 4.29, "longest_gap_ms": 12.5}},
    "round_trip": {"count": 9, "min_us": 1, "p50_us": 20.5, "p90_us": 21,
                   "p99_us": 30, "p99_9_us": 45, "max_us": 99}}

NETSTAT = """\
TcpExt: SyncookiesSent SyncookiesRecv
TcpExt: 0 0
MPTcpExt: MPCapableSYNRX MPJoinSynRx MPJoinAckRx
MPTcpExt: 2 6 6
"""


class Outputs(unittest.TestCase):

    def test_all_reduce_perf(self):
        document = {"wrong": 0, "results": [{"size_bytes": 4096,
                                             "time_us": 25.5}]}
        self.assertEqual(parse.all_reduce_perf(json.dumps(document)), 25.5)
        document["wrong"] = 3
        with self.assertRaisesRegex(parse.Unreadable, "3 wrong"):
            parse.all_reduce_perf(json.dumps(document))
        for text in ("", "{", '{"wrong": 0}', '{"wrong": 0, "results": []}'):
            with self.assertRaises(parse.Unreadable):
                parse.all_reduce_perf(text)

    def test_plain_all_reduce(self):
        # Warnings of a library may stand before the line.
        text = "warning: no such device\n4096 24.793 0\n"
        self.assertEqual(parse.plain_all_reduce(text, 4096), 24.793)
        with self.assertRaisesRegex(parse.Unreadable, "7 wrong"):
            parse.plain_all_reduce("4096 24.793 7\n", 4096)
        with self.assertRaises(parse.Unreadable):
            parse.plain_all_reduce(text, 8192)

    def test_iperf3(self):
        found = parse.iperf3("warning: x\n" + json.dumps(IPERF3), 0.1)
        self.assertEqual(found["bytes"], 1_500_000)
        self.assertAlmostEqual(found["gbps"], 0.006)
        self.assertAlmostEqual(found["gap_ms"], 300)
        with self.assertRaisesRegex(parse.Unreadable, "refused"):
            parse.iperf3('{"intervals": [], "end": {}, "error": "refused"}',
                         0.1)
        with self.assertRaises(parse.Unreadable):
            parse.iperf3('{"intervals": [], "end": {}}', 0.1)
        with self.assertRaises(parse.Unreadable):
            parse.iperf3("iperf3: no JSON", 0.1)

    def test_ucx_rows(self):
        rows = [row for line in UCX.splitlines() if (row := parse.ucx_row(line))]
        self.assertEqual([row[0] for row in rows], [120, 209, 300])
        self.assertEqual(rows[0][1:], (3616.683, 116.77, 116.77))
        found = parse.ucx_stream(rows, 1 << 20)
        self.assertEqual(found["bytes"], 300 << 20)
        self.assertAlmostEqual(found["seconds"], 300 / 87.71)
        self.assertAlmostEqual(found["gbps"], 87.71 * 8 * (1 << 20) / 1e9)
        with self.assertRaises(parse.Unreadable):
            parse.ucx_stream([], 1 << 20)

    def test_what_each_plane_carried(self):
        paths = [{"plane": plane, "share": share}
                 for plane, share in (("a0:1", 0.25), ("a1:1", 0.5),
                                      ("a0:1", 0.25))]
        found = parse.hawser_shares(
            json.dumps({**HAWSER, "client": {"paths": paths}}))
        self.assertEqual(found, {"a0:1": 50, "a1:1": 50})
        self.assertEqual(parse.hawser_shares(
            json.dumps({**HAWSER, "client": {"paths": []}})), {})
        with self.assertRaises(parse.Unreadable):
            parse.hawser_shares(json.dumps(HAWSER))

    def test_troubles(self):
        class Place:
            done = []

            def path(self, *words):
                self.done.append(words)
        place = Place()
        by_name = {one.name: one for one in scenarios.troubles("25mbit")}
        self.assertEqual(by_name["well"].events(place, 0, 10), [])
        self.assertEqual(by_name["slow"].events(place, 2, 10), [])
        self.assertEqual(place.done, [(2, "ab", "rate", "25mbit")])
        (dark, _, begin), (light, _, end) = by_name["black-way"].events(
            place, 1, 10)
        self.assertLess(dark, light)
        begin()
        end()
        self.assertEqual(place.done[1:], [(1, "a", "loss", "100%"), (1, "ab")])

    def test_a_run_of_ucx_that_was_ended(self):
        rows = [parse.ucx_row(UCX.splitlines()[5])]
        found = parse.ucx_stalled(rows, 1 << 20, 10)
        # What is outstanding does not count.
        self.assertEqual(found["bytes"], (209 - 32) << 20)
        self.assertAlmostEqual(found["gbps"], 177 * (1 << 20) * 8 / 10 / 1e9)
        self.assertEqual(parse.ucx_stalled([], 1 << 20, 10)["gbps"], 0)

    def test_hawser_perf(self):
        found = parse.hawser_stream(json.dumps(HAWSER))
        self.assertEqual(found, {"bytes": 1 << 30, "seconds": 2.0,
                                 "gbps": 4.29, "gap_ms": 12.5})
        found = parse.hawser_round_trips(json.dumps(HAWSER))
        self.assertEqual(found, {"count": 9, "p50_us": 20.5, "p99_us": 30,
                                 "p99_9_us": 45})
        for broken in ({"error": "cut short"}, {"wrong_messages": 1},
                       {"server": None}, {"server": {"received": None}}):
            with self.assertRaises(parse.Unreadable):
                parse.hawser_stream(json.dumps({**HAWSER, **broken}))
        with self.assertRaises(parse.Unreadable):
            parse.hawser_round_trips(json.dumps({**HAWSER,
                                                 "round_trip": None}))

    def test_udp_ping_pong(self):
        found = parse.udp_ping_pong("54334 11.608 73.020 104.265 10.496 37.1\n")
        self.assertEqual(found, {"count": 54334, "p50_us": 11.608,
                                 "p99_us": 73.02, "p99_9_us": 104.265})
        with self.assertRaises(parse.Unreadable):
            parse.udp_ping_pong("")

    def test_mptcp_joins(self):
        self.assertEqual(parse.join_count(NETSTAT), 6)
        self.assertEqual(parse.join_count("TcpExt: A\nTcpExt: 1\n"), 0)

    def test_sizes(self):
        self.assertEqual([parse.size(text) for text in ("4", "64K", "1m")],
                         [4, 65536, 1 << 20])
        self.assertEqual([parse.size_name(size)
                          for size in (4, 4096, 64 << 20, 1 << 30)],
                         ["4 B", "4 KiB", "64 MiB", "1 GiB"])
        with self.assertRaises(ValueError):
            parse.size("4KB")


class Judgement(unittest.TestCase):

    RATE = 100  # Mb/s of a plane; 12.5 MB/s.

    def samples(self, moved):
        """20 ms apart for 10 s; `moved` says how much of a plane's rate."""
        planes = 4
        counts = [0] * planes
        rows = []
        for i in range(501):
            at = 1000 + i * 0.02
            rows.append((at, list(counts)))
            for plane in range(planes):
                counts[plane] += int(moved(plane, i * 0.02) * 0.02 *
                                     self.RATE * 1e6 / 8)
        return rows

    def judge(self, moved):
        return scenarios.judge_darkness(self.samples(moved), 2, 1003, 1006, 9,
                                        self.RATE)

    def test_one_that_goes_around(self):
        found = self.judge(lambda plane, at:
                           0 if plane == 2 and 3 <= at < 6.5 else 1)
        self.assertAlmostEqual(found["dark_s"], 3)
        self.assertLess(found["silence_ms"], 50)
        self.assertAlmostEqual(found["dark_percent"], 100, delta=1)
        self.assertAlmostEqual(found["after_percent"], 100, delta=1)
        self.assertAlmostEqual(found["back_s"], 0.5, delta=0.12)

    def test_one_that_stands_still(self):
        found = self.judge(lambda plane, at: 0 if 3 <= at < 7.2 else 0.5)
        self.assertAlmostEqual(found["silence_ms"], 4200, delta=60)
        self.assertAlmostEqual(found["dark_percent"], 0, delta=1)
        self.assertAlmostEqual(found["after_percent"], 50, delta=1)
        self.assertAlmostEqual(found["back_s"], 1.2, delta=0.12)

    def test_what_comes_when_it_is_over(self):
        found = self.judge(lambda plane, at: 0 if 7 <= at < 9.5 else 1)
        self.assertLess(found["silence_ms"], 50)

    def test_one_that_never_comes_back(self):
        # Probes alone are no use of a plane.
        found = self.judge(lambda plane, at:
                           0.01 if plane == 2 and at >= 3 else 1)
        self.assertNotIn("back_s", found)
        self.assertAlmostEqual(found["after_percent"], 75, delta=1)

    def test_nothing_seen(self):
        self.assertEqual(scenarios.judge_darkness([], 2, 3, 6, 9, self.RATE),
                         {"dark_s": 3})

    def test_what_planes_carry(self):
        place = types.SimpleNamespace(planes=4, rate_mbps=200)
        found = {one.name: one.planes_mbps(place, {"seconds": 10, "dark_s": 3})
                 for one in scenarios.scenarios(200)}
        self.assertEqual(found, {"clean": 800, "slow": 620, "loss": 800,
                                 "ce": 800, "dark": 740})
        self.assertAlmostEqual(scenarios.payload_mbps(1514, 1448), 1448)

    def test_tables(self):
        cell, other = tables.Cell(), tables.Cell()
        cell.runs = [{"gbps": value} for value in (3.0, 1.0, 2.0)]
        other.runs = [{"gbps": 4.0}]
        other.errors = ["refused"]
        self.assertEqual(tables.spread(cell, "gbps"), "2.00 (1.00..3.00)")
        self.assertEqual(tables.spread(other, "gbps"), "4.00, 1 failed")
        self.assertEqual(tables.ratio(cell, other, "gbps"), "0.50x")
        self.assertEqual(tables.ratio(cell, tables.Cell(), "gbps"), "-")
        self.assertEqual(tables.table(["a", "b"], [["1", "2"]]),
                         "| a | b |\n|---|---:|\n| 1 | 2 |")


class Children(unittest.TestCase):

    def test_output_status_and_time(self):
        child = processes.Child([
            "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; "
                        "echo one; echo two >&2"])
        self.assertEqual(child.finish(20), "one")
        self.assertEqual(child.errors(), "two\n")
        self.assertGreater(child.cpu_s, 0.005)

    def test_failure_says_why(self):
        child = processes.Child(["sh", "-c", "echo reason >&2; exit 3"])
        with self.assertRaisesRegex(processes.Failed, "^sh: reason$"):
            child.finish(20)

    def test_whoever_hangs_is_ended(self):
        child = processes.Child(["sleep", "1000"])
        began = time.monotonic()
        with self.assertRaisesRegex(processes.Failed, "still running"):
            child.finish(0.1)
        self.assertEqual(child.status, -15)
        self.assertLess(time.monotonic() - began, 20)

    def test_all_are_ended(self):
        children = [processes.Child(["sleep", "1000"]) for _ in range(3)]
        processes.end_all()
        self.assertEqual([child.status for child in children], [-15] * 3)

    def test_a_missing_peer_names_its_package(self):
        peer = machine.Peer("x", "X", {"no-such-program-here": "package-y"})
        self.assertEqual(peer.missing(), "package package-y")
        peer = machine.Peer("x", "X", {}, {"no/such/header.h": "libz-dev"})
        self.assertEqual(peer.missing(), "package libz-dev")
        peer = machine.Peer("x", "X", {}, (), (("/nonexistent", "wings"),))
        self.assertEqual(peer.missing(), "this kernel has no wings")


class CommandLine(unittest.TestCase):

    @staticmethod
    def run_it(*options):
        done = subprocess.run([sys.executable, FOLDER / "run", *options],
                              capture_output=True, text=True, timeout=120,
                              check=False)
        return done.returncode, done.stdout, done.stderr

    def test_help(self):
        status, out, err = self.run_it("--help")
        self.assertEqual((status, err), (0, ""))
        for word in ("allreduce", "p2p", "latency", "planes", "all", "--sizes",
                     "--ranks", "--repeat", "--json", "--markdown", "--quick",
                     "--install", "--pin", "--build"):
            self.assertIn(word, out)

    def test_bad_options(self):
        for options in ((), ("everything",), ("p2p", "--repeat", "0"),
                        ("p2p", "--repeat", "many"), ("p2p", "--unknown"),
                        ("p2p", "--quic"), ("allreduce", "--sizes", "4KB"),
                        ("allreduce", "--sizes", "5"),
                        ("allreduce", "--ranks", "1"),
                        ("planes", "--planes", "1"), ("planes", "--rate", "x"),
                        ("planes", "--scenarios", "rain"),
                        ("p2p", "--peers", "rdma"), ("p2p", "--pin", "x"),
                        ("p2p", "--duration", "0.5"),
                        ("p2p", "--json", "/nonexistent/out.json")):
            with self.subTest(options=options):
                status, out, err = self.run_it(*options)
                self.assertEqual(status, 2, err)
                self.assertEqual(out, "")
                self.assertEqual(len(err.splitlines()), 1, err)
                self.assertIn("--help", err)

    def test_what_is_missing_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "out.json")
            # Nothing is built there, and nobody to compare with is asked for.
            status, out, _ = self.run_it("p2p", "--build", folder, "--peers",
                                         "gloo", "--json", str(file))
            self.assertEqual(status, 1)
            self.assertIn("hawser_perf is not built", out)
            document = json.loads(file.read_text(encoding="utf-8"))
            self.assertEqual(document["benches"][0]["skipped"][0]["who"],
                             "Hawser")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
