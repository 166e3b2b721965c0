"""One direction of one path: its rate and delay, what goes wrong on it, and
what went over it."""

import contextlib
import json
import struct

from testbed_lib.basics import Failure, batch, call
from testbed_lib.state import State
from testbed_lib.units import PPM

# A token bucket of 16 KB is small enough that no burst of 64 KB, as senders
# hand them down, gets through in one piece. From 262 Mb/s on the bucket must
# hold what passes until a timer on a busy machine has fired, which is half a
# millisecond here.
LEAST_BURST_BYTES = 16 * 1024
BURST_S = 0.0005
QUEUE_BYTES = 256 * 1024
NETEM_LIMIT_PACKETS = 100_000  # More than anybody has under way: never full.

SHAPE = {"rate_bps", "delay_ns"}
FAULTS = {"dark", "mtu_hole_bytes", "loss_ppm", "ce_ppm"}


def plain_way(rate_bps, delay_ns):
    return {"rate_bps": rate_bps, "delay_ns": delay_ns, "dark": False,
            "mtu_hole_bytes": 0, "loss_ppm": 0, "ce_ppm": 0}


def has_netem(namespace):
    try:
        batch("tc", namespace, ["qdisc add dev lo root netem delay 1ms",
                                "qdisc del dev lo root"])
        return True
    except Failure:
        return False


def chance(ppm):
    # nft knows that the whole is always less than the whole, and refuses.
    return f"numgen random mod {PPM} < {ppm} " if ppm < PPM else ""


def fault_rules(way):
    """nft's rules for what goes wrong on a way, in order."""
    rules = []
    if way["dark"]:
        rules.append("counter drop")
    if way["mtu_hole_bytes"]:
        rules.append(f"meta length > {way['mtu_hole_bytes']} counter drop")
    if way["loss_ppm"]:
        rules.append(f"{chance(way['loss_ppm'])}counter drop")
    if way["ce_ppm"]:
        rules.append(f"ip ecn != not-ect {chance(way['ce_ppm'])}counter "
                     "ip ecn set ce")
    return rules


def prepare_faults(layout):
    """A chain for every way, at its far end."""
    for node in layout.nodes:
        rules = ["add table netdev testbed"]
        for (path, host), way in layout.ways.items():
            if way.far[0] == node:
                chain = f"netdev testbed {host}_{path}"
                rules.append(f'add chain {chain} {{ type filter hook ingress '
                             f'device "{way.far[1]}" priority 0; }}')
        if len(rules) == 1:
            continue
        # Every kind of rule once, and away again, to learn at once what this
        # kernel cannot do.
        trial = {"dark": True, "mtu_hole_bytes": 1, "loss_ppm": 1, "ce_ppm": 1}
        rules += [f"add rule {chain} {rule}" for rule in fault_rules(trial)]
        rules.append(f"flush chain {chain}")
        call("ip", "netns", "exec", layout.namespace(node), "nft", "-f", "-",
             text="\n".join(rules) + "\n",
             needs="nftables' netdev family with numgen "
                   "(CONFIG_NF_TABLES_NETDEV, CONFIG_NFT_NUMGEN)")


def _shape(namespace, device, rate_bps, netem_delay_ns=None):
    lines, parent = [], "root"
    if netem_delay_ns is not None:
        lines.append(f"qdisc replace dev {device} root handle 1: netem delay "
                     f"{netem_delay_ns // 1000}us limit {NETEM_LIMIT_PACKETS}")
        parent = "parent 1:1"
    if rate_bps:
        burst = max(LEAST_BURST_BYTES, int(rate_bps * BURST_S / 8))
        lines.append(f"qdisc replace dev {device} {parent} handle 2: tbf "
                     f"rate {rate_bps}bit burst {burst} limit {QUEUE_BYTES}")
    else:
        with contextlib.suppress(Failure):  # There may be none.
            batch("tc", namespace, [f"qdisc del dev {device} root"])
    batch("tc", namespace, lines,
          "the queueing discipline tbf (CONFIG_NET_SCH_TBF)")


def apply(state, layout, path, host, what):
    """Brings the kernel in line with the state, for what is in `what`."""
    wish = state.data["ways"][f"{path} {host}"]
    way = layout.ways[path, host]
    if what & SHAPE:
        by = state.data["delay_by"]
        _shape(layout.namespace(way.near[0]), way.near[1], wish["rate_bps"],
               wish["delay_ns"] if by == "netem" else None)
        if way.down:
            _shape(layout.namespace(way.down[0]), way.down[1],
                   wish["rate_bps"])
        if by == "wire":
            with open(State.path(state.name, "delays"), "r+b") as table:
                table.seek(8 * way.slot)
                table.write(struct.pack("=Q", wish["delay_ns"]))
    if what & FAULTS:
        chain = f"netdev testbed {host}_{path}"
        rules = [f"flush chain {chain}"]  # All in one transaction.
        rules += [f"add rule {chain} {rule}" for rule in fault_rules(wish)]
        call("ip", "netns", "exec", layout.namespace(way.far[0]), "nft", "-f",
             "-", text="\n".join(rules) + "\n")


def counts(layout):
    """(path, host) -> what its way has carried, dropped and marked."""
    sent, queues, rules = {}, {}, {}
    for node in layout.nodes:
        namespace = layout.namespace(node)
        for link in json.loads(call("ip", "-n", namespace, "-s", "-j", "link")):
            sent[node, link["ifname"]] = link["stats64"]["tx"]["bytes"]
        for queue in json.loads(call("tc", "-n", namespace, "-s", "-j",
                                     "qdisc")):
            if queue["kind"] == "tbf":
                queues[node, queue["dev"]] = queue["drops"]
        listing = json.loads(call("ip", "netns", "exec", namespace, "nft",
                                  "-j", "list", "ruleset"))
        for item in listing["nftables"]:
            if "rule" in item:
                steps = item["rule"]["expr"]
                key = (item["rule"]["chain"],
                       any("drop" in step for step in steps))
                rules[key] = rules.get(key, 0) + sum(
                    step["counter"]["packets"] for step in steps
                    if "counter" in step)
    return {(path, host): {"sent_bytes": sent.get(way.near, 0),
                           "queue_drops": queues.get(way.near, 0),
                           "dropped": rules.get((f"{host}_{path}", True), 0),
                           "marked": rules.get((f"{host}_{path}", False), 0)}
            for (path, host), way in layout.ways.items()}
