"""Makes a testbed, and takes it away."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from testbed_lib.basics import Failure, batch, call, ignore_signals, missing
from testbed_lib.layout import Layout
from testbed_lib.state import STATE_DIRECTORY, State
from testbed_lib.ways import (SHAPE, apply, has_netem, plain_way,
                              prepare_faults)

TOOLS = Path(__file__).resolve().parent.parent
PACKAGES = {"ip": "iproute2", "tc": "iproute2", "bridge": "iproute2",
            "nft": "nftables", "ethtool": "ethtool"}
HASH_BY_PORTS = 0x37  # Addresses, protocol, ports (fib_multipath_hash_fields).
CARRIER_S = 10  # Its own pace is a second, when it has other work.
SETTLE_S = 2  # For processes to end once they are told to.


def check_root():
    if os.geteuid() != 0:
        raise missing("network namespaces need root: run it with sudo")


def check_here():
    absent = {package for program, package in PACKAGES.items()
              if not shutil.which(program)}
    if absent:
        raise missing("programs are missing; on Debian: apt-get install "
                      + " ".join(sorted(absent)))
    check_root()


def delay_program():
    """The user-space wire; made now, in the build folder, if need be."""
    source = TOOLS / "delay_path.cc"
    program = TOOLS.parent / "build" / "testbed" / "delay_path"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if not compiler:
        raise missing("this kernel has no netem, so a delay needs a program "
                      "of ours, and there is no C++ compiler to build it; on "
                      "Debian: apt-get install g++")
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    call(compiler, "-std=c++20", "-O2", "-Wall", "-Wextra", "-o",
         unfinished, source)
    unfinished.rename(program)
    return program


def start_wires(state, layout):
    """The process that stands for the wires, where they have a delay."""
    program = delay_program()
    table = State.path(state.name, "delays")
    table.write_bytes(bytes(2 * 8 * len(layout.wires)))
    arguments = [str(table)]
    for pair in layout.wires:
        for node, device in pair:
            arguments += [f"/run/netns/{layout.namespace(node)}", device]
    # In a session of its own, where no Ctrl-C reaches it.
    process = subprocess.Popen([program, *arguments], start_new_session=True,
                               stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    state.data["processes"].append([process.pid, start_time(process.pid)])
    state.save()
    if process.stdout.readline() != "ready\n":
        raise missing("the user-space wire does not start: "
                      + process.stderr.read().strip())


def set_knobs(node, namespace):
    """What the kernel reads from /proc/sys, which is each namespace's own."""
    # IPv4 only, and no chatter of IPv6's on the wires.
    knobs = {"ipv6/conf/default/disable_ipv6": 1,
             "ipv4/conf/all/rp_filter": 0,
             "ipv4/conf/default/rp_filter": 0}
    optional = {"ipv6/conf/default/disable_ipv6",
                "ipv4/fib_multipath_hash_seed"}  # Since Linux 6.11.
    if node in ("ra", "rb"):
        # By the packet's own ports: policy 3. Policy 1 prefers a hash that a
        # connected socket leaves with its packets, which no wire would carry,
        # and which has nothing to do with the ports.
        knobs.update({"ipv4/ip_forward": 1,
                      "ipv4/fib_multipath_hash_fields": HASH_BY_PORTS,
                      "ipv4/fib_multipath_hash_policy": 3,
                      "ipv4/fib_multipath_hash_seed": 7})  # Same every time.
    script = "set -e; cd /proc/sys/net"
    for knob, value in knobs.items():
        may = f"[ ! -e {knob} ] || " if knob in optional else ""
        script += f"; {may}echo {value} >{knob}"
    call("ip", "netns", "exec", namespace, "sh", "-c", script,
         needs="routing by ports (Linux 5.14), or lets nobody write to "
               "/proc/sys/net")


def lay_cables(state, layout):
    by_wire = state.data["delay_by"] == "wire"
    for pair in layout.cables + ([] if by_wire else layout.wires):
        (one, device), (other, its_device) = pair
        call("ip", "-n", layout.namespace(one), "link", "add", device,
             "address", layout.macs[pair[0]], "type", "veth",
             "peer", "name", its_device, "address", layout.macs[pair[1]],
             "netns", layout.namespace(other), needs="veth (CONFIG_VETH)")
    if by_wire:
        for node, device in (end for pair in layout.wires for end in pair):
            batch("ip", layout.namespace(node),
                  [f"tuntap add dev {device} mode tap",
                   f"link set {device} address {layout.macs[node, device]} "
                   f"txqueuelen 10000"], "TAP devices (CONFIG_TUN)")
        start_wires(state, layout)


def bring_up(layout, node, mtu):
    namespace, devices = layout.namespace(node), layout.devices(node)
    lines = ["link set lo up"]
    if node == "switch":
        bridge = {device: device[1:] if device.endswith("eth0")
                  else f"plane{device[1:]}" for device in devices}
        for name in sorted(set(bridge.values())):
            lines += [f"link add {name} type bridge mcast_snooping 0",
                      f"link set {name} mtu {mtu} up"]
        lines += [f"link set {device} master {bridge[device]}"
                  for device in devices]
    lines += [f"link set {device} mtu {mtu} up" for device in devices]
    batch("ip", namespace, lines + layout.addressing(node),
          "bridges (CONFIG_BRIDGE)" if node == "switch" else None)
    if node == "switch":
        batch("bridge", namespace, layout.forwarding())
    for device in devices:
        # A burst goes down the stack whole, and is cut into packets where the
        # driver of a simple card would do it: right before the wire.
        call("ip", "netns", "exec", namespace, "ethtool", "-K", device,
             "tso", "off", "tx-udp-segmentation", "off", "gro", "off")


def wait_for_carrier(layout):
    """The kernel takes its time to believe in a cable that was plugged in, and
    a bridge drops what comes over one that it does not believe in."""
    deadline = time.monotonic() + CARRIER_S
    for node in layout.nodes:
        while True:
            links = json.loads(call("ip", "-n", layout.namespace(node), "-d",
                                    "-j", "link"))
            waiting = [link["ifname"] for link in links
                       if link["ifname"] != "lo" and (
                           link["operstate"] != "UP" or
                           link.get("linkinfo", {}).get("info_slave_data", {})
                           .get("state", "forwarding") != "forwarding")]
            if not waiting:
                break
            if time.monotonic() > deadline:
                raise Failure(f"no carrier on {node}: {', '.join(waiting)}")
            time.sleep(0.02)


def build(state, options):
    """Everything of a testbed, in the order in which it can be made."""
    layout = Layout(state.name, options.hosts, options.planes, options.routes,
                    options.dpdk)
    namespaces = {node: layout.namespace(node) for node in layout.nodes}
    for namespace in namespaces.values():
        if Path("/run/netns", namespace).exists():
            raise Failure(f"there is a network namespace {namespace} that is "
                          f"not ours; `ip netns del {namespace}` removes it")
    plain = plain_way(options.rate or 0, options.delay or 0)
    state.data = {"name": state.name, "hosts": options.hosts,
                  "planes": options.planes, "routes": options.routes,
                  "dpdk": options.dpdk,
                  "mtu": options.mtu, "plain": plain, "delay_by": None,
                  "namespaces": list(namespaces.values()), "processes": [],
                  "ways": {f"{path} {host}": plain
                           for path, host in layout.ways}}
    state.save()
    for node, namespace in namespaces.items():
        call("ip", "netns", "add", namespace,
             needs="network namespaces (CONFIG_NET_NS; a container must be "
                   "--privileged)")
        set_knobs(node, namespace)
    if options.delay is not None:
        state.data["delay_by"] = ("netem" if has_netem(namespaces["a"])
                                  else "wire")
    lay_cables(state, layout)
    for node in layout.nodes:
        bring_up(layout, node, options.mtu)
    prepare_faults(layout)
    wait_for_carrier(layout)
    for path, host in layout.ways:
        apply(state, layout, path, host, SHAPE)
    state.data["ready"] = True
    state.save()


def start_time(pid):
    """Tells a process from a later one with the same id; None: it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else int(words[19])


def inhabitants(namespace):
    """{(pid, start time)} of the processes in a namespace, but not us."""
    with contextlib.suppress(Failure):
        pids = map(int, call("ip", "netns", "pids", namespace).split())
        return {(pid, start_time(pid)) for pid in pids if pid != os.getpid()}
    return set()


def end_processes(found):
    """Ends exactly these, if they are still who they were."""
    def alive():
        return [pid for pid, started in found
                if started is not None and start_time(pid) == started]

    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + SETTLE_S
        while alive() and time.monotonic() < deadline:
            time.sleep(0.01)


def tear_down(state):
    """Returns how many processes ran on the hosts, and were ended. Works on
    any half of a testbed."""
    ignore_signals()
    namespaces = [name for name in state.data.get("namespaces", [])
                  if Path("/run/netns", name).exists()]
    own = {tuple(process) for process in state.data.get("processes", [])}
    visitors = set().union(*map(inhabitants, namespaces)) - own
    end_processes(visitors | own)
    for namespace in namespaces:
        with contextlib.suppress(Failure):
            call("ip", "netns", "del", namespace)
    left = [name for name in namespaces if Path("/run/netns", name).exists()]
    if left:
        raise Failure(f"could not remove {', '.join(left)}")
    State.path(state.name, "delays").unlink(missing_ok=True)
    for socket in STATE_DIRECTORY.glob(f"{state.name}-plane*.sock"):
        socket.unlink(missing_ok=True)
    State.path(state.name).unlink(missing_ok=True)
    state.close()
    with contextlib.suppress(OSError):
        STATE_DIRECTORY.rmdir()  # If this was the last.
    return len(visitors)
