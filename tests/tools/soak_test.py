"""tools/soak: twenty seconds of it, and what it says when something is amiss.

Usage: soak_test.py BUILD_FOLDER [unittest arguments]

Exits 77, saying why, where testbeds cannot be made.
"""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "tools" / "soak"
BUILD = sys.argv[1]
SKIPPED = 77
NOT_HERE = 3


def soak(*words, limit_s=250):
    """(status, stdout, stderr)"""
    done = subprocess.run([SOAK, *map(str, words)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=limit_s,
                          check=False)
    return done.returncode, done.stdout, done.stderr


class Soak(unittest.TestCase):

    def test_twenty_seconds(self):
        status, out, err = soak("--build", BUILD, "--duration", 20, "--seed",
                                11)
        if status == NOT_HERE:
            self.skipTest(err.strip())
        self.assertEqual(status, 0, out + err)
        self.assertIn("soak: 20 s over 4 planes of 200mbit, seed 11\n", out)
        self.assertRegex(out, r"\d\.\d s  path \d --dark")
        self.assertRegex(out, r"\n[1-9]\d* all-reduces, 0 wrong elements\n")
        self.assertRegex(out, r"\nsoak: passed \(tools/soak --seed 11 ")
        self.assertIsNone(re.search("carried nothing", out))

    def test_ranks_that_cannot_run_are_no_success(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "all_reduce_perf"
            broken.write_text("#!/bin/sh\nexit 5\n", encoding="utf-8")
            broken.chmod(0o755)
            status, out, err = soak("--build", folder, "--duration", 20)
        if status == NOT_HERE:
            self.skipTest(err.strip())
        self.assertEqual(status, 1, out + err)
        self.assertIn("soak: rank 0 ended with status 5", out)
        self.assertIn("soak: FAILED", out)

    def test_bad_options(self):
        for words in (("--duration", 5), ("--planes", 1), ("--unknown",)):
            status, out, err = soak(*words)
            self.assertEqual((status, out), (2, ""), err)
        with tempfile.TemporaryDirectory() as folder:
            status, _, err = soak("--build", folder)
        self.assertEqual(status, NOT_HERE)
        self.assertIn("no all_reduce_perf in", err)


if __name__ == "__main__":
    # An exit from within a test would count as its failure.
    result = unittest.main(argv=[sys.argv[0], *sys.argv[2:]], exit=False).result
    if result.wasSuccessful() and result.skipped:
        print("skipped:", result.skipped[0][1])
        sys.exit(SKIPPED)
    sys.exit(not result.wasSuccessful())
