"""What each program prints, as numbers. No program is started here."""

import json
import re

MIB = 1 << 20


class Unreadable(Exception):
    """The output is not what it should be."""


def size(text):
    """4096, 4K, 1M, 1G."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text.strip().upper())
    if not found:
        raise ValueError(f"'{text}' is no size, as 64K is")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


def size_name(count):
    for unit, shift in (("G", 30), ("M", 20), ("K", 10)):
        if count >= 1 << shift and count % (1 << shift) == 0:
            return f"{count >> shift} {unit}iB"
    return f"{count} B"


def _document(text, who):
    # Warnings may stand before the JSON.
    start = text.find("{")
    try:
        return json.JSONDecoder().raw_decode(text[max(start, 0):])[0]
    except ValueError:
        raise Unreadable(f"{who} wrote no JSON") from None


def all_reduce_perf(text):
    """us per all-reduce from the --json of one size."""
    document = _document(text, "all_reduce_perf")
    try:
        if document["wrong"]:
            raise Unreadable(f"{document['wrong']} wrong elements")
        (row,) = document["results"]
        return row["time_us"]
    except (KeyError, ValueError, TypeError):
        raise Unreadable("all_reduce_perf's JSON lacks results") from None


def plain_all_reduce(text, size_bytes):
    """us per all-reduce from the line of our own peer programs."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == str(size_bytes):
            if words[2] != "0":
                raise Unreadable(f"{words[2]} wrong elements")
            return float(words[1])
    raise Unreadable("no line with a result")


def iperf3(text, period_s):
    """{"bytes", "seconds", "gbps", "gap_ms"} as the server's -J counts what
    came in; the gap, the longest time without a byte, in whole periods."""
    document = _document(text, "iperf3")
    if "error" in document:
        raise Unreadable(document["error"])
    try:
        received = document["end"]["sum_received"]
        longest = silent = 0
        for interval in document["intervals"]:
            silent = 0 if interval["sum"]["bytes"] else silent + 1
            longest = max(longest, silent)
        return {"bytes": received["bytes"], "seconds": received["seconds"],
                "gbps": received["bits_per_second"] / 1e9,
                "gap_ms": longest * period_s * 1e3}
    except (KeyError, TypeError):
        raise Unreadable("iperf3's JSON lacks end.sum_received") from None


def ucx_row(line):
    """(iterations, typical us, MiB/s, MiB/s since the start) of a row of
    ucx_perftest's table; None for every other line."""
    found = re.match(r"(?:\[thread \d+\]|Final:)\s+(\d+)((?:\s+[\d.]+){7})\s*$",
                     line)
    if not found:
        return None
    numbers = [float(word) for word in found[2].split()]
    return int(found[1]), numbers[0], numbers[3], numbers[4]


def ucx_stream(rows, size_bytes):
    """As iperf3(), from ucx_perftest's last row, the final one."""
    if not rows:
        raise Unreadable("ucx_perftest printed no result")
    iterations, _, _, overall = rows[-1]
    if not overall:
        raise Unreadable("ucx_perftest moved nothing")
    count = iterations * size_bytes
    seconds = count / (overall * MIB)
    return {"bytes": count, "seconds": seconds,
            "gbps": count * 8 / seconds / 1e9}


# Messages that ucx_perftest has outstanding, unless it is told otherwise; the
# rows before the final one count them as if they were done.
_UCX_WINDOW = 32


def ucx_stalled(rows, size_bytes, seconds):
    """The same for a run that was ended after so long a time."""
    done = max(rows[-1][0] - _UCX_WINDOW, 0) if rows else 0
    count = done * size_bytes
    return {"bytes": count, "seconds": seconds, "stalled": True,
            "gbps": count * 8 / seconds / 1e9}


def udp_ping_pong(text):
    """{"count", "p50_us", "p99_us", "p99_9_us"}: round trips."""
    words = text.split()
    if len(words) != 6:
        raise Unreadable("udp_ping_pong printed no result")
    return {"count": int(words[0]), "p50_us": float(words[1]),
            "p99_us": float(words[2]), "p99_9_us": float(words[3])}


def hawser_stream(text):
    """As iperf3(), from hawser_perf's --json, by the receiver as well; and
    "gap_ms", the longest time in which no message arrived whole."""
    document = _hawser(text)
    try:
        received = document["server"]["received"]
        return {"bytes": received["bytes"], "seconds": received["seconds"],
                "gbps": received["goodput_gbps"],
                "gap_ms": received["longest_gap_ms"]}
    except (KeyError, TypeError):
        raise Unreadable("hawser_perf's JSON lacks what the server "
                         "received") from None


def hawser_shares(text):
    """What part of it each plane carried, in percent, by plane."""
    shares = {}
    try:
        for path in _hawser(text)["client"]["paths"]:
            plane = path["plane"]
            shares[plane] = shares.get(plane, 0) + 100 * path["share"]
    except (KeyError, TypeError):
        raise Unreadable("hawser_perf's JSON lacks the shares of its "
                         "paths") from None
    return shares


def hawser_round_trips(text):
    """As udp_ping_pong(), from hawser_perf's --json."""
    document = _hawser(text)
    try:
        return {key: document["round_trip"][key]
                for key in ("count", "p50_us", "p99_us", "p99_9_us")}
    except (KeyError, TypeError):
        raise Unreadable("hawser_perf's JSON lacks round_trip") from None


def _hawser(text):
    document = _document(text, "hawser_perf")
    if document.get("error"):
        raise Unreadable(document["error"])
    if document.get("wrong_messages"):
        raise Unreadable(f"{document['wrong_messages']} wrong messages")
    return document


def _perftest_row(text):
    """The numbers of the last row of perftest's table."""
    rows = [line.split() for line in text.splitlines()
            if re.match(r"\s*\d+\s+\d+\s", line)]
    try:
        return [float(word) for word in rows[-1]]
    except (IndexError, ValueError):
        raise Unreadable("perftest printed no result") from None


def perftest_stream(text):
    """As iperf3(), from an ib_*_bw --report_gbits."""
    size_bytes, count, _, gbps = _perftest_row(text)[:4]
    if not gbps:
        raise Unreadable("perftest moved nothing")
    moved = size_bytes * count
    return {"bytes": moved, "seconds": moved * 8 / gbps / 1e9, "gbps": gbps}


def perftest_round_trips(text):
    """As udp_ping_pong(), from an ib_*_lat, whose times are one way."""
    row = _perftest_row(text)
    if len(row) < 9:
        raise Unreadable("perftest printed no percentiles")
    return {"count": int(row[1]), "p50_us": 2 * row[4], "p99_us": 2 * row[7],
            "p99_9_us": 2 * row[8]}


def join_count(text):
    """How many subflows joined a connection of Multipath TCP here, ever, from
    /proc/net/netstat."""
    rows = [line.split()[1:] for line in text.splitlines()
            if line.startswith("MPTcpExt:")]
    if len(rows) != 2:
        return 0
    return int(dict(zip(*rows)).get("MPJoinAckRx", 0))


def device_counts(line, devices):
    """(time, [received bytes of each device]) from a line of the watcher."""
    words = line.split()
    if len(words) != 1 + len(devices):
        return None
    return float(words[0]), [int(word) for word in words[1:]]
