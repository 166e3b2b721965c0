"""What the machine is and has, and what else it did during a run."""

import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


class Peer:
    """Something to compare with: what it needs, and from which packages."""

    def __init__(self, name, title, programs, headers=(), kernel=()):
        self.name, self.title = name, title
        self._programs, self._headers = programs, headers
        self._kernel = kernel  # (file, what it shows)

    def packages(self):
        """Those that are missing."""
        absent = [package for program, package in self._programs.items()
                  if not shutil.which(program)]
        absent += [package for header, package in dict(self._headers).items()
                   if not any(Path(folder, header).exists() for folder in
                              ("/usr/include", "/usr/local/include"))]
        return list(dict.fromkeys(absent))

    def missing(self):
        """Why it cannot be run here; empty if it can."""
        packages = self.packages()
        if packages:
            return "package " + ", ".join(packages)
        for file, what in self._kernel:
            if not Path(file).exists():
                return f"this kernel has no {what}"
        return ""


_IPERF3 = {"iperf3": "iperf3"}
PEERS = {peer.name: peer for peer in (
    Peer("openmpi", "OpenMPI tcp",
         {"mpirun": "openmpi-bin", "mpicxx": "libopenmpi-dev"}),
    Peer("gloo", "gloo", {"g++": "g++"},
         {"gloo/allreduce.h": "libgloo-dev"}),
    Peer("tcp", "TCP (iperf3, cubic)", _IPERF3),
    Peer("mptcp", "MPTCP (iperf3, cubic)",
         {**_IPERF3, "mptcpize": "mptcpize"},
         kernel=(("/proc/sys/net/mptcp/enabled", "Multipath TCP"),)),
    Peer("ucx", "UCX tcp", {"ucx_perftest": "ucx-utils"}),
    Peer("udp", "UDP, blocking", {"g++": "g++"}),
    Peer("perftest", "perftest", {"ib_write_bw": "perftest"}),
)}


def install(peers):
    """None, or why it did not work."""
    wanted = sorted({package for peer in peers for package in peer.packages()})
    if not wanted:
        return None
    # tools/lib.sh knows about sudo, and about machines without apt-get.
    done = subprocess.run(
        ["bash", "-c", 'set -euo pipefail; . "$1"; shift; '
         'ensure_packages "$@" >&2', "bench/peers/run",
         ROOT / "tools/lib.sh", *wanted], check=False)
    return None if done.returncode == 0 else "could not install " + \
        ", ".join(wanted)


def compile_peer(source, compiler, libraries=()):
    """The program made of bench/peers/SOURCE, built if it is not up to date;
    raises OSError or CalledProcessError."""
    folder = ROOT / "build/peers"
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).parent / source
    program = folder / source.stem
    if not program.exists() or \
            program.stat().st_mtime < source.stat().st_mtime:
        # Beside it first: a run that is cut short leaves nothing half made.
        made = folder / f"{source.stem}.{os.getpid()}"
        try:
            subprocess.run([compiler, "-std=c++20", "-O2", "-Wall", "-Wextra",
                            source, "-o", made, *libraries],
                           check=True, capture_output=True, text=True)
            made.replace(program)
        finally:
            made.unlink(missing_ok=True)
    return program


def _cpu_now():
    """Seconds of all cores since boot: (busy, stolen). Stolen: the hypervisor
    gave them to others while we wanted them."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq) / _TICKS, steal / _TICKS


def _own_now():
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


class LoadMeter:
    """How much of the machine others had while a run of ours was on."""

    def __init__(self):
        self._began = time.monotonic()
        self._busy, self._stolen = _cpu_now()
        self._own = _own_now()

    def read(self):
        capacity = max(time.monotonic() - self._began, 1e-3) * os.cpu_count()
        busy, stolen = _cpu_now()
        others = (busy - self._busy) - (_own_now() - self._own)
        # The two are counted in different ways; small differences are noise.
        return {"loadavg": os.getloadavg()[0],
                "others_percent": 100 * max(others, 0) / capacity,
                "stolen_percent": 100 * (stolen - self._stolen) / capacity}


def describe():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    versions = {}
    for package in ("openmpi-bin", "libgloo-dev", "iperf3", "ucx-utils",
                    "mptcpize", "perftest"):
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package],
            capture_output=True, text=True, check=False) \
            if shutil.which("dpkg-query") else None
        if asked and asked.returncode == 0 and asked.stdout:
            versions[package] = asked.stdout
    return {"processor": model, "cores": os.cpu_count(),
            "kernel": os.uname().release, "loadavg": os.getloadavg(),
            "packages": versions,
            "hawser": {name: value for name, value in os.environ.items()
                       if name.startswith("HAWSER_")}}
