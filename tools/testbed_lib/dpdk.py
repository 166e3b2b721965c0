"""Planes that DPDK has: what a host is told of them, for Hawser to use them."""

from testbed_lib.basics import Failure
from testbed_lib.state import STATE_DIRECTORY

KINDS = ("af_xdp", "af_packet", "memif")

# What a frame of af_xdp carries, and what one of af_packet does by default
# (docs/dpdk.md).
XDP_MTU = 3438
PACKET_RING_MTU = 1964
LARGE_RING = ",blocksz=131072,framesz=16384,framecnt=512"

# Hugepages are for everybody to have or not.
EAL = "--no-pci --no-huge -m 512"


def check(options):
    """Raises Failure where such planes cannot be."""
    if not options.dpdk:
        return
    if options.routes:
        raise Failure("--dpdk takes --planes: routers know the kernel's "
                      "addresses alone", 2)
    if options.delay is not None:
        raise Failure("--dpdk and --delay do not go together", 2)
    if options.dpdk == "memif" and (options.hosts > 2 or options.rate):
        raise Failure("memif is memory that two hosts share: no third, and no "
                      "--rate", 2)
    if options.dpdk == "af_xdp" and options.mtu > XDP_MTU:
        raise Failure(f"af_xdp carries IP packets of {XDP_MTU} bytes at most: "
                      f"--mtu {XDP_MTU}", 2)


def _device(layout, data, host, path):
    """EAL's argument for a plane."""
    kind = layout.dpdk
    if kind == "memif":
        role = "server" if host == "a" else "client"
        path_name = STATE_DIRECTORY / f"{layout.name}-plane{path}.sock"
        return (f"--vdev=net_memif{path},id={path},bsize=9216,role={role},"
                f"socket-abstract=no,socket={path_name}")
    large = kind == "af_packet" and data["mtu"] > PACKET_RING_MTU
    return (f"--vdev=net_{kind}{path},iface=plane{path}"
            + (LARGE_RING if large else ""))


def environment(layout, data, host):
    """Variables for a program on a host; none where the kernel has all."""
    if not layout.dpdk:
        return {}
    ports = []
    for path, (device, address) in enumerate(layout.planes(host)):
        words = [f"net_{layout.dpdk}{path}", f"{address}/24"]
        # As the kernel's: a dark plane is silent, and no failing ARP tells.
        for other in layout.hosts:
            mac = layout.macs.get((other, device))
            if mac and other != host:
                words.append(f"neighbour {layout.planes(other)[path][1]}={mac}")
        ports.append(" ".join(words))
    devices = [_device(layout, data, host, path) for path in layout.paths]
    return {"HAWSER_DATAPATH": "dpdk", "HAWSER_IFNAME": "eth0",
            "HAWSER_DPDK_EAL": " ".join([EAL, *devices]),
            "HAWSER_DPDK_PORTS": "; ".join(ports)}
