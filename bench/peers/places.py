"""Where a run takes place: on loopback, on two hosts of a testbed, or between
two RDMA devices."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from machine import ROOT
from processes import Child, Failed

TESTBED = ROOT / "tools/testbed"

# Prints the time and what each interface has received, every 20 ms: short
# against a gap of 250 ms, and cheap.
_WATCHER = """
import sys, time
devices = sys.argv[1:]
while True:
    found = {}
    with open("/proc/net/dev") as lines:
        for line in lines:
            name, _, counts = line.partition(":")
            if counts: found[name.strip()] = counts.split()[0]
    print(time.monotonic(), *(found.get(d, "0") for d in devices), flush=True)
    time.sleep(0.02)
"""


class Loopback:
    """Both sides on this host, over the loopback interface."""

    name = "loopback"
    one_host = True
    rate_mbps = None  # As fast as it goes.
    devices = ["lo"]
    environment = {"HAWSER_IFNAME": "lo"}

    def address(self, _side, _plane=0):
        return "127.0.0.1"

    def words(self, _side, *words):
        return words


class Rdma:
    """Between the RDMA devices a0 and b0 of the machine that tools/softroce
    makes, or, for whoever can use them, over several such planes. What spins
    gives way, or it takes the time of the kernel's own work, which carries the
    packets (docs/softroce.md). And each side has the core that serves its
    device, as a host of one core would: wherever else it runs, both of them
    are faster or slower by up to two times."""

    name = "Soft-RoCE"
    one_host = False
    rate_mbps = None
    devices = ["a0:1", "b0:1"]
    environment = {"HAWSER_DATAPATH": "verbs", "HAWSER_IFNAME": "lo",
                   "HAWSER_TARGET_DELAY_US": "20000",
                   "HAWSER_RTO_MIN_US": "50000"}

    def __init__(self, planes=1):
        self.planes = planes
        for side in "ab":
            for plane in range(planes):
                if not self.exists(side, plane):
                    raise Failed(f"there is no RDMA device {side}{plane}: this "
                                 "is to be run by tools/softroce run --planes "
                                 f"{planes}")
        self._cores = {side: self._core(side) for side in "ab"}

    @staticmethod
    def exists(side, plane):
        return os.path.exists(f"/sys/class/infiniband/{side}{plane}")

    def address(self, _side, _plane=0):
        return "127.0.0.1"

    def device(self, side):
        return f"{side}0"

    def _core(self, side):
        """The only one that receives what comes for the side's device."""
        device = self.device(side)
        parent = pathlib.Path(f"/sys/class/infiniband/{device}/parent")
        netdev = parent.read_text().strip()
        mask = pathlib.Path(f"/sys/class/net/{netdev}/queues/rx-0/rps_cpus")
        cores = int(mask.read_text().replace(",", ""), 16)
        if cores.bit_count() != 1:
            raise Failed(f"{netdev} is not served by one core: rps_cpus is "
                         f"{cores:x}")
        return cores.bit_length() - 1

    def words(self, side, *words):
        names = ",".join(f"{side}{plane}" for plane in range(self.planes))
        return ["env", f"HAWSER_IB_HCA=={names}",
                f"UCX_NET_DEVICES={self.device(side)}:1",
                "taskset", "-c", str(self._cores[side]), "nice", "-n", "19",
                *words]

    def path(self, plane, senders, *words):
        """Conditions of one plane, as tools/softroce path takes them."""
        subprocess.run([ROOT / "tools/softroce_lib/path", str(plane), "0",
                        senders, *words], check=True, capture_output=True,
                       stdin=subprocess.DEVNULL, text=True)


class Testbed:
    """Two namespaces with planes in between, as tools/testbed makes them.

    They live as long as a child of ours holds them, which is as long as its
    standard input stays open: they are gone when we are, however we end.
    """

    one_host = False

    def __init__(self, planes, rate_mbps):
        self.name = f"{planes} planes of {rate_mbps:g} Mb/s"
        self.planes, self.rate_mbps = planes, rate_mbps
        self.environment = {"HAWSER_IFNAME": "plane"}
        self._testbed = f"peers_{os.getpid()}"
        self._holder = Child(
            [TESTBED, "run", "--name", self._testbed, "--planes", planes,
             "--rate", f"{rate_mbps:g}mbit", "--", "sh", "-c",
             "echo up; exec cat"], stdin=subprocess.PIPE,
            name="tools/testbed")
        deadline = time.monotonic() + 30
        while "up" not in self._holder.text().split():
            if self._holder.wait(0.05) is not None:
                raise Failed(self._holder.complaint())
            if time.monotonic() > deadline:
                self.close()
                raise Failed("tools/testbed: not up after 30 s")
        interfaces = json.loads(self._call("status", "--json"))["interfaces"]
        self.devices = list(interfaces["a"])
        self._addresses = {side: list(found.values())
                           for side, found in interfaces.items()}

    def close(self):
        """Down; the holder does it once its input ends."""
        try:
            self._holder.stdin.close()
        except OSError:
            pass
        if self._holder.wait(20) is None:
            self._holder.end()
            self._call("down")

    def address(self, side, plane=0):
        return self._addresses[side][plane]

    def words(self, side, *words):
        return [TESTBED, "exec", "--name", self._testbed, side, "--", *words]

    def path(self, number, *change):
        self._call("path", number, *change)

    def run_on(self, side, *words):
        return self._run(self.words(side, *words))

    def _call(self, verb, *words):
        return self._run([TESTBED, verb, "--name", self._testbed, *words])

    def _run(self, words):
        # Not through Child: it is called from timers as well, where only the
        # main thread may wait for children.
        done = subprocess.run([str(word) for word in words],
                              stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, start_new_session=True)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip() or "failed"
            raise Failed(f"{os.path.basename(words[0])} "
                         f"{' '.join(map(str, words[1:]))}: {said}")
        return done.stdout

    def watch(self):
        """A child that prints lines for parse.device_counts."""
        return Child(self.words("b", sys.executable, "-c", _WATCHER,
                                *self.devices))


class Timeline:
    """Changes to a place at fixed times of a run, and when they took hold."""

    def __init__(self, events):
        self.begun, self.done = {}, {}  # Name of the event: monotonic time.
        self.error = None
        self._timers = [threading.Timer(at_s, self._act, (name, action))
                        for at_s, name, action in events]
        for timer in self._timers:
            timer.start()

    def _act(self, name, action):
        self.begun[name] = time.monotonic()
        try:
            action()
            self.done[name] = time.monotonic()
        except Failed as failure:
            self.error = failure

    def close(self):
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            timer.join()
