"""What is where. All of it follows from what `up` was asked for."""

import string
from dataclasses import dataclass
from typing import Optional, Tuple

End = Tuple[str, str]  # (node, device)


@dataclass
class Way:
    """One direction of a path: what one host sends over it.

    The near end's egress gives it its rate. At the far end's ingress packets
    are dropped and marked: only there has every burst been cut into the
    packets that a wire would carry.
    """

    near: End
    far: End
    slot: int                   # In the user-space wires' table of delays.
    down: Optional[End] = None  # The switch's port to the host, if any.


class Layout:
    """The nodes (a network namespace each), and the cables between them.

    Two hosts with planes: each plane is a cable. More hosts: a bridge per
    plane, all in one node, and each host's cable to it is the host's part of
    the path. Routes: routers ra and rb with a cable per route.

    Where DPDK has the planes (testbed_lib/dpdk.py), frames neither wait in the
    queue of the host that sends them nor pass the filters of the one that gets
    them: so there are bridges in any case, and eth0 besides, which the kernel
    keeps. Planes of memif are shared memory, and no part of this.
    """

    def __init__(self, name, hosts, planes, routes, dpdk=None):
        self.name, self.routes, self.dpdk = name, routes, dpdk
        self.hosts = list(string.ascii_lowercase[:hosts])
        self.paths = range(routes or planes)
        self.nodes = list(self.hosts)
        self.cables = []  # (end, end): plain ones,
        self.wires = []   # and those that belong to a path.
        self.ways = {}    # (path, host): Way
        if routes:
            self.nodes += ["ra", "rb"]
            self.cables = [((h, "eth0"), ("r" + h, "host")) for h in "ab"]
        elif dpdk == "memif":
            self.cables = [(("a", "eth0"), ("b", "eth0"))]
        elif hosts > 2 or dpdk:
            self.nodes += ["switch"]
        if dpdk and "switch" in self.nodes:
            self.cables = [((h, "eth0"), ("switch", h + "eth0"))
                           for h in self.hosts]
        for path in self.paths if dpdk != "memif" else ():
            slot = 2 * len(self.wires)
            if routes or (hosts == 2 and not dpdk):
                near, far, device = ("ra", "rb", f"route{path}") if routes \
                    else ("a", "b", f"plane{path}")
                one, other = (near, device), (far, device)
                self.ways[path, "a"] = Way(one, other, slot)
                self.ways[path, "b"] = Way(other, one, slot + 1)
                self.wires.append((one, other))
                continue
            for i, host in enumerate(self.hosts):
                one, port = (host, f"plane{path}"), ("switch", f"{host}{path}")
                self.ways[path, host] = Way(one, port, slot + 2 * i, port)
                self.wires.append((one, port))
        ends = [end for pair in self.cables + self.wires for end in pair]
        self.macs = {end: f"02:48:00:00:{i >> 8:02x}:{i & 255:02x}"
                     for i, end in enumerate(ends)}

    def namespace(self, node):
        return f"{self.name}-{node}"

    def devices(self, node):
        return [device for end_node, device in self.macs if end_node == node]

    def interfaces(self, host):
        """(device, address) of each of a host's interfaces that the kernel
        has."""
        number = self.hosts.index(host)
        if self.routes:
            return [("eth0", f"10.78.{number}.1")]
        if self.dpdk:
            return [("eth0", f"10.76.0.{number + 1}")]
        return self.planes(host)

    def planes(self, host):
        """(device, address) of each plane."""
        number = self.hosts.index(host)
        return [(f"plane{p}", f"10.77.{p}.{number + 1}") for p in self.paths]

    def addressing(self, node):
        """Lines for `ip -batch` that make a node speak IP.

        Every neighbour is made known, for ever: on a path that goes dark ARP
        would fail and the sender be told so, and a black hole does not talk.
        """
        lines = []

        def neighbour(address, end, device):
            lines.append(f"neigh replace {address} lladdr {self.macs[end]} "
                         f"dev {device} nud permanent")

        if node in self.hosts:
            for i, (device, address) in enumerate(self.interfaces(node)):
                lines.append(f"addr add {address}/24 dev {device}")
                if self.routes:
                    gateway = address[:-1] + "254"
                    neighbour(gateway, ("r" + node, "host"), device)
                    lines.append(f"route add default via {gateway}")
                    continue
                for other in self.hosts:
                    if other != node:
                        neighbour(self.interfaces(other)[i][1],
                                  (other, device), device)
        elif node in ("ra", "rb"):
            mine, other = ("a", "b") if node == "ra" else ("b", "a")
            side = self.hosts.index(mine)
            lines.append(f"addr add 10.78.{side}.254/24 dev host")
            neighbour(f"10.78.{side}.1", (mine, "eth0"), "host")
            hops = ""
            for p in self.paths:
                lines.append(f"addr add 10.78.{100 + p}.{1 + side}/30 "
                             f"dev route{p}")
                far = f"10.78.{100 + p}.{2 - side}"
                neighbour(far, ("r" + other, f"route{p}"), f"route{p}")
                hops += f" nexthop via {far} dev route{p}"
            lines.append(f"route add 10.78.{1 - side}.0/24{hops}")
        return lines

    def forwarding(self):
        """Lines for `bridge -batch`: who is behind which port of the switch,
        so that it never has to send to all to find out."""
        return [f"fdb replace {self.macs[host, device]} dev {port} "
                "master static"
                for (host, device), (node, port) in self.wires
                if node == "switch"]
