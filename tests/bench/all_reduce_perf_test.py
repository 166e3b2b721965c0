"""all_reduce_perf over a plain TCP plugin: right results, honest failures.

Usage: all_reduce_perf_test.py PROGRAM LOOP_PLUGIN HAWSER_PLUGIN
                               [unittest arguments]
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
PLUGIN = os.path.abspath(sys.argv[2])
OURS = os.path.abspath(sys.argv[3])

RUN_LIMIT_S = 120  # Far above any run here, even under a sanitizer.
END_LIMIT_S = 20  # In which a broken run must have ended, timeouts included.
OPERATIONS = ("allreduce", "allgather", "reducescatter", "sendrecv", "alltoall")
TYPES = ("int8", "uint8", "int32", "uint32", "int64", "uint64", "float",
         "double")
FEW_TYPES = ("uint8", "double")  # No number of ranks makes a type another.


def start(*options, plugin=PLUGIN, before=None, **environment):
    """`before` is called in the new process, before the program."""
    env = {**os.environ, **environment}
    if "HAWSER_STATS_FILE" not in environment:
        env.pop("HAWSER_STATS_FILE", None)
    return subprocess.Popen(
        [PROGRAM, "--plugin", plugin, *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
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


def run(*options, **more):
    return finish(start(*options, **more))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, limit_s=END_LIMIT_S):
    deadline = time.monotonic() + limit_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.02)
    return True


def rank_pids(process, ranks):
    """Reads the head of the table, up to the last rank's line."""
    pids = []
    while len(pids) < ranks:
        line = process.stdout.readline()
        if not line:
            raise AssertionError("the head ended early")
        found = re.match(r"#\s+rank\s+\d+\s+.*:(\d+)$", line)
        if found:
            pids.append(int(found.group(1)))
    return pids


def table(out):
    """The rows as (size, count, wrong)."""
    rows = []
    for line in out.splitlines():
        words = line.split()
        if len(words) == 8 and words[0].isdigit() and "->" not in words:
            rows.append((int(words[0]), int(words[1]), words[7]))
    return rows


class RightResults(unittest.TestCase):

    def check(self, *options, **more):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "out.json")
            status, out, err = run("--json", file, *options, **more)
            self.assertEqual(status, 0, out + err)
            with open(file, encoding="utf-8") as opened:
                document = json.load(opened)
        self.assertEqual(document["wrong"], 0)
        self.assertTrue(all(row[2] == "0" for row in table(out)), out)
        self.assertEqual(
            [(row["size_bytes"], row["count"]) for row in document["results"]],
            [row[:2] for row in table(out)])
        return document, out

    def test_every_operation_with_two_three_and_four_ranks(self):
        for ranks in (2, 3, 4):
            for operation in OPERATIONS:
                with self.subTest(ranks=ranks, operation=operation):
                    document, _ = self.check(
                        "--op", operation, "--ranks", ranks, "-b", 0,
                        "-e", "3M", "-f", 61, "-n", 2, "-w", 1,
                        "--channels", 2)
                    self.assertEqual(document["op"], operation)
                    self.assertEqual(document["ranks"], ranks)
                    sizes = [row["size_bytes"] for row in document["results"]]
                    self.assertEqual(sizes[0], 0)
                    self.assertGreater(sizes[-1], 100000)

    def test_odd_sizes_of_single_bytes(self):
        for operation in OPERATIONS:
            with self.subTest(operation=operation):
                document, _ = self.check(
                    "--op", operation, "--type", "uint8", "--ranks", 3,
                    "-b", 1, "-e", "2M", "-f", 37, "-n", 2, "-w", 0, "-c", 2,
                    "--channels", 3)
                self.assertEqual(document["results"][0]["size_bytes"],
                                 1 if operation in ("allreduce", "sendrecv")
                                 else 0)

    def test_every_type(self):
        for element in TYPES:
            with self.subTest(element=element):
                document, _ = self.check("--type", element, "-b", 4,
                                         "-e", "300K", "-f", 65, "-n", 1,
                                         "-w", 0)
                self.assertEqual(document["type"], element)

    def check_odd_sizes(self, algorithm, ranks, element):
        # 0 bytes, one element, then numbers that no cut divides.
        document, out = self.check(
            "--algo", algorithm, "--ranks", ranks, "--type", element, "-b", 0,
            "-e", "300K", "-f", 37, "-n", 2, "-w", 1, "-c", 2)
        self.assertGreater(document["comms"], 0)
        self.assertGreater(document["connect_s"], 0)
        self.assertIn(f"# {document['comms']} comms of each rank were "
                      "connected in ", out)
        sizes = [row["size_bytes"] for row in document["results"]]
        self.assertEqual(sizes[0], 0)
        self.assertGreater(sizes[-1], 10000)
        self.assertEqual({row["algorithm"] for row in document["results"]},
                         {algorithm})
        self.assertIn(f"# algorithm: {algorithm}\n", out)

    def test_each_algorithm_with_every_type_and_odd_sizes(self):
        for algorithm, all_ranks, typical in (("doubling", (2, 4, 8), 4),
                                              ("halving", (2, 4, 8), 4),
                                              ("star", (2, 3, 4, 7), 3)):
            for ranks in all_ranks:
                for element in TYPES if ranks == typical else FEW_TYPES:
                    with self.subTest(algorithm=algorithm, ranks=ranks,
                                      element=element):
                        self.check_odd_sizes(algorithm, ranks, element)

    def test_halving_in_many_slices_on_many_channels(self):
        for ranks in (4, 8):
            for way in ("-R", 0), ("-R", 1):
                with self.subTest(ranks=ranks, way=way):
                    self.check("--algo", "halving", "--ranks", ranks, "--slice",
                               "4K", "--channels", 3, "-b", 3000012, "-e",
                               3000012, "-n", 2, "-w", 0, *way)

    def test_slots_are_reused_many_times_with_small_slices(self):
        ways = [("--op", operation) for operation in OPERATIONS]
        slots = [(*way, "-R", 0) for way in ways]
        for way in (*ways, *slots, ("--algo", "doubling"), ("--algo", "star")):
            with self.subTest(way=way):
                self.check(*way, "--ranks", 4, "--slice", "1K", "-b", 1000012,
                           "-e", 1000012, "-n", 2, "-w", 0)

    def test_the_algorithm_follows_the_size(self):
        def algorithms(*options):
            document, out = self.check("-n", 1, "-w", 0, *options)
            return [row["algorithm"] for row in document["results"]], out

        sizes = ("-b", "4K", "-e", "4M", "-f", 1024)
        for ranks, small, large in (
                (2, "doubling", "ring"), (3, "star", "ring"),
                (4, "star", "halving"), (5, "ring", "ring"),
                (8, "doubling", "halving"), (16, "doubling", "ring")):
            chosen, out = algorithms("--ranks", ranks, *sizes)
            self.assertEqual(chosen, [small, large])
            if small != large:
                self.assertRegex(
                    out,
                    rf"# algorithm: {small} up to \d+ bytes, then {large}\n")
        chosen, out = algorithms("--ranks", 4, "-b", "4K", "-e", "16M", "-f",
                                 64)
        self.assertEqual(chosen, ["star", "halving", "ring"])
        self.assertRegex(out, r"# algorithm: star up to \d+ bytes, then "
                         r"halving up to \d+ bytes, then ring\n")
        # A size is of whole elements, and so is what is taken for it.
        chosen, out = algorithms("--ranks", 4, "-b", 65537, "-e", "2M", "-f",
                                 16)
        self.assertEqual(chosen, ["star", "halving"])
        self.assertRegex(out, r"# algorithm: star up to \d+ bytes, then halv")
        chosen, out = algorithms("--algo", "ring", *sizes)
        self.assertEqual(chosen, ["ring", "ring"])
        self.assertIn("# algorithm: ring\n", out)
        # What other operations have.
        for operation, only in (("allgather", "ring"), ("alltoall", "pairs")):
            self.assertEqual(algorithms("--op", operation, *sizes)[0],
                             [only] * 2)

    def test_all_sizes_again_and_again(self):
        document, _ = self.check("-b", "4K", "-e", "16K", "-f", 4, "-n", 1,
                                 "--duration", 1)
        sizes = [row["size_bytes"] for row in document["results"]]
        self.assertGreater(len(sizes), 2)
        self.assertEqual(sizes, [4096, 16384] * (len(sizes) // 2))

    def test_first_size_alone(self):
        for size, rounded in ((0, 0), (1, 0), (4, 4), (4097, 4096)):
            document, _ = self.check("-b", size, "-e", size, "-n", 3)
            self.assertEqual(
                [row["size_bytes"] for row in document["results"]], [rounded])

    def test_every_api_version(self):
        for api in ("v8", "v9", "v10", "v11", "v12"):
            document, _ = self.check("--api", api, "-b", "1M", "-e", "1M",
                                     "-n", 2)
            self.assertEqual(document["plugin"]["api"], int(api[1:]))
        document, out = self.check("-b", 4, "-e", 4, "-n", 1)
        self.assertEqual(document["plugin"]["api"], 12)
        self.assertIn("plugin Loop, net API v12", out)

    def test_every_api_version_of_our_plugin(self):
        for version in range(6, 13):
            with self.subTest(version=version):
                document, _ = self.check(
                    "--api", f"v{version}", "-b", "64K", "-e", "64K", "-n", 2,
                    plugin=OURS, HAWSER_IFNAME="lo")
                self.assertEqual(document["plugin"]["name"], "Hawser")
                self.assertEqual(document["plugin"]["api"], version)

    def test_bandwidths_follow_the_definitions(self):
        factors = {"allreduce": 1.5, "allgather": 0.75, "reducescatter": 0.75,
                   "alltoall": 0.75, "sendrecv": 1}
        for operation, factor in factors.items():
            document, _ = self.check("--op", operation, "--ranks", 4,
                                     "-b", "1M", "-e", "1M", "-n", 2)
            row = document["results"][0]
            shares = operation in ("allgather", "reducescatter", "alltoall")
            self.assertEqual(row["count"], 65536 if shares else 262144)
            self.assertAlmostEqual(
                row["algbw_gbps"], (1 << 20) / row["time_us"] / 1e3)
            self.assertAlmostEqual(row["busbw_gbps"],
                                   row["algbw_gbps"] * factor)

    def test_paths_are_told(self):
        document, out = self.check("--ranks", 3, "-b", "1M", "-e", "1M",
                                   "-n", 2)
        self.assertEqual([(path["rank"], path["peer"], path["share"])
                          for path in document["paths"]],
                         [(0, "1", 1.0), (1, "2", 1.0), (2, "0", 1.0)])
        self.assertGreater(document["paths"][0]["bytes_delivered"], 1 << 20)
        self.assertIn("What each path carried", out)

    def test_paths_that_are_not_told(self):
        # Before v11 there is no finalize, and this plugin writes nothing.
        document, out = self.check("--api", "v8", "-b", 4, "-e", 4)
        self.assertEqual(document["paths"], [])
        self.assertIn("told nothing about its paths", out)

    def test_no_files_are_left(self):
        with tempfile.TemporaryDirectory() as folder:
            self.check("-b", 4, "-e", 4, TMPDIR=folder)
            self.assertEqual(os.listdir(folder), [])

    def test_the_users_own_statistics_file(self):
        with tempfile.TemporaryDirectory() as folder:
            mine = os.path.join(folder, "mine.json")
            status, out, err = run("-b", 4, "-e", 4, HAWSER_STATS_FILE=mine)
            self.assertEqual(status, 0, err)
            self.assertIn("where HAWSER_STATS_FILE says", out)
            self.assertTrue(os.path.exists(mine))

    def test_started_by_one_that_ignores_its_children(self):
        status, out, err = finish(
            start("-b", 4, "-e", 4, before=lambda: signal.signal(
                signal.SIGCHLD, signal.SIG_IGN)), END_LIMIT_S)
        self.assertEqual(status, 0, err)
        self.assertEqual(len(table(out)), 1)

    def test_nothing_checked(self):
        status, out, _ = run("-b", "1K", "-e", "1K", "-c", 0)
        self.assertEqual(status, 0)
        self.assertEqual([row[2] for row in table(out)], ["N/A"])

    def test_ranks_started_one_by_one(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            root = "127.0.0.1:%d" % probe.getsockname()[1]
        options = ("--ranks", 3, "--root", root, "-b", "64K", "-e", "256K")
        # Rank 0 comes last: the others must wait for it.
        ranks = [start("--rank", rank, *options) for rank in (2, 1, 0)]
        results = [finish(rank) for rank in ranks]
        for status, _, err in results:
            self.assertEqual(status, 0, err)
        self.assertEqual(len(table(results[2][1])), 3)
        self.assertEqual(results[0][1], "", "only rank 0 prints")
        self.assertIn("What each path carried", results[2][1])


class HonestFailures(unittest.TestCase):

    def broken(self, *options, **environment):
        status, out, err = finish(start(*options, **environment), END_LIMIT_S)
        self.assertEqual(status, 1, out + err)
        return out, err

    def test_a_changed_bit_is_found(self):
        ways = [("--op", operation) for operation in OPERATIONS]
        for way in (*ways, ("--algo", "doubling"), ("--algo", "star")):
            with self.subTest(way=way):
                out, _ = self.broken(*way, "-b", "1M", "-e", "1M", "-n", 5,
                                     LOOP_PLUGIN_FAULT="corrupt")
                self.assertNotEqual(table(out)[0][2], "0")
                self.assertIn("FAILED", out)

    def test_a_byte_behind_the_buffer_is_found(self):
        _, err = self.broken("-b", "1M", "-e", "1M", "-c", 0, "-R", 0,
                             LOOP_PLUGIN_FAULT="overrun")
        self.assertIn("behind a slot", err)

    def test_an_error_names_rank_call_and_result(self):
        _, err = self.broken("--ranks", 3, LOOP_PLUGIN_FAULT="fail")
        self.assertRegex(err, r"rank \d: isend of \d+ bytes to rank \d, "
                              r"channel \d: ncclSystemError \(2\)")

    def test_no_document_is_left_of_a_run_that_failed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "out.json")
            with open(file, "w", encoding="utf-8") as earlier:
                earlier.write("{}")
            self.broken("--json", file, LOOP_PLUGIN_FAULT="fail")
            self.assertEqual(os.listdir(folder), [])

    def test_a_hang_ends(self):
        _, err = self.broken("-b", "1M", "-e", "1M", "--timeout", 1,
                             LOOP_PLUGIN_FAULT="hang")
        self.assertRegex(err, r"rank \d: allreduce of 1048576 bytes: nothing "
                              r"moved for 1 s; \d+ sends and \d+ receives")

    def test_a_killed_rank_ends_all(self):
        for victim in (0, 2):
            process = start("--ranks", 3, "-b", "1K", "-e", "1M", "-n",
                            1000000, "-f", 1024, "-w", 0, "-c", 0)
            pids = rank_pids(process, 3)
            os.kill(pids[victim], signal.SIGKILL)
            status, _, err = finish(process, END_LIMIT_S)
            self.assertEqual(status, 1, err)
            self.assertIn(f"rank {victim} was killed by signal 9", err)
            self.assertEqual([is_alive(pid) for pid in pids], [False] * 3)

    def test_signals_and_death_of_the_launcher_end_all(self):
        for end, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143),
                              (signal.SIGKILL, -9)):
            with tempfile.TemporaryDirectory() as folder:
                process = start("-b", 4, "-e", "64M", "-f", 1 << 20, "-n",
                                1000, TMPDIR=folder)
                pids = rank_pids(process, 2)
                process.send_signal(end)
                status, _, _ = finish(process, END_LIMIT_S)
                self.assertEqual(status, expected)
                self.assertTrue(
                    wait_until(lambda: not any(map(is_alive, pids))))

    def test_ranks_that_disagree(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            root = "127.0.0.1:%d" % probe.getsockname()[1]
        options = ("--ranks", 2, "--root", root, "--timeout", 5)
        ranks = [start("--rank", 0, "-b", 4, "-e", 4, *options),
                 start("--rank", 1, "-b", 8, "-e", 8, *options)]
        for rank in ranks:
            status, _, err = finish(rank, END_LIMIT_S)
            self.assertEqual(status, 1, err)
            self.assertRegex(err, "was started otherwise|lost rank")

    def test_a_rank_that_dies_elsewhere(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            root = "127.0.0.1:%d" % probe.getsockname()[1]
        options = ("--ranks", 2, "--root", root, "-n", 1000000, "-c", 0)
        ranks = [start("--rank", rank, *options) for rank in (0, 1)]
        while "#wrong" not in ranks[0].stdout.readline():
            pass
        ranks[1].kill()
        ranks[1].communicate()
        status, _, err = finish(ranks[0], END_LIMIT_S)
        self.assertEqual(status, 1)
        self.assertRegex(err, r"ncclRemoteError \(6\)|lost rank 1")

    def test_what_cannot_be_loaded(self):
        _, err = self.broken("-b", 4, plugin="/nonexistent.so")
        self.assertIn("no plugin could be loaded", err)
        _, err = self.broken("-b", 4, plugin=PROGRAM)
        self.assertIn("all_reduce_perf: rank", err)
        _, err = self.broken("-b", 4, "--api", "v7")
        self.assertIn("does not export ncclNetPlugin_v7", err)
        _, err = self.broken("-b", 4, "--dev", 3)
        self.assertIn("the plugin has 1 device", err)
        _, err = self.broken("-b", 4, "--json", "/nonexistent/out.json")
        self.assertIn("--json /nonexistent/out.json", err)

    def test_bad_options(self):
        bad = (
            ("-b", "-4"), ("-b", "4X"), ("-b", ""), ("-b", "4KB"),
            ("-b", "99999999999G"), ("-b", "8", "-e", "4"), ("-f", "1"),
            ("-f", "0"), ("-n", "0"), ("-n", "two"), ("-w", "-1"), ("-c", "x"),
            ("--ranks", "1"), ("--ranks", "1000"), ("--channels", "0"),
            ("--op", "broadcast"), ("--type", "half"), ("--api", "v5"),
            ("--api", "13"), ("--slice", "100"), ("--timeout", "0"),
            ("--algo", "tree"), ("--algo", "pairs"),
            ("--algo", "doubling", "--ranks", "3"),
            ("--algo", "doubling", "--ranks", "12"),
            ("--algo", "halving", "--ranks", "16"),
            ("--algo", "ring", "--op", "allgather"),
            ("--rank", "0"), ("--root", "127.0.0.1:1"),
            ("--rank", "2", "--ranks", "2", "--root", "127.0.0.1:1"),
            ("--rank", "0", "--root", "nowhere"),
            ("--rank", "0", "--root", "host:99999"),
            ("--unknown",), ("-z",), ("word",), ("-b",), ("--json",),
        )
        for options in bad:
            with self.subTest(options=options):
                status, out, err = run(*options)
                self.assertEqual(status, 2, err)
                self.assertEqual(out, "")
                self.assertEqual(len(err.splitlines()), 1, err)
                self.assertIn("--help", err)

    def test_doubling_says_what_it_wants(self):
        status, _, err = run("--algo", "doubling", "--ranks", 3)
        self.assertEqual(status, 2)
        self.assertIn("--algo doubling: --ranks 3 is not a power of two", err)

    def test_help(self):
        status, out, _ = run("--help")
        self.assertEqual(status, 0)
        for word in ("--minbytes", "--plugin", "--json", "--channels", "--op",
                     "--algo"):
            self.assertIn(word, out)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
