"""Soft-RoCE devices on this machine itself."""

from pathlib import Path

from .basics import Failure, call, missing

RDMA = Path("/sys/class/infiniband")


def device_on(interface):
    for device in RDMA.glob("*"):
        parent = device / "parent"
        if parent.exists() and parent.read_text().strip() == interface:
            return device.name
    return None


def up(interface):
    if not Path("/sys/class/net", interface).exists():
        raise Failure(f"there is no interface {interface}", 2)
    name = device_on(interface)
    if name is None:
        call("modprobe", "rdma_rxe", refused=lambda why: missing(
            f"this kernel has no rdma_rxe, or may not load it ({why}); "
            "softroce run needs neither"))
        name = f"rxe_{interface}"
        call("rdma", "link", "add", name, "type", "rxe", "netdev", interface)
    return f"{name} on {interface}"


def down(interface):
    name = device_on(interface)
    if name is None:
        raise Failure(f"there is no Soft-RoCE device on {interface}", 2)
    call("rdma", "link", "delete", name)
