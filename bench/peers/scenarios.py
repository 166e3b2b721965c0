"""What happens to the planes, and what they can carry meanwhile."""

# A full frame on these planes: 1500 bytes of IP and 14 of Ethernet, which is
# what tbf counts as well. Of those, 1448 are payload of TCP (20 IP, 20 TCP and
# 12 of its time stamps) and 1472 are payload of UDP (20 IP, 8 UDP). "100%" is
# a plane full of such frames and nothing else; whatever a protocol adds inside
# its payload, as ours does, it pays for itself.
FRAME_BYTES = 1514


def payload_mbps(planes_mbps, payload_bytes):
    return planes_mbps * payload_bytes / FRAME_BYTES


# Of the duration: when a plane goes dark, and when it is light again.
DARK_AT, LIGHT_AT = 0.3, 0.6
# A plane that carries this much of its rate is in use (probes are far less).
_IN_USE = 0.1
# And no more than this of all planes, it is silence.
_SILENCE = 0.01
_WINDOW_S = 0.1  # Over which a plane's rate is taken.
# Others may take this long to find a new balance before they are judged.
SETTLE_S = 1.0


class Scenario:

    def __init__(self, name, title, change=(), dark=False):
        self.name, self.title, self.change, self.dark = (name, title, change,
                                                         dark)

    def planes_mbps(self, place, result):
        """The sum of the planes' rates, over a run of which this came."""
        rates = place.planes * place.rate_mbps
        if self.name == "slow":
            rates -= place.rate_mbps * 0.9
        if self.dark and "dark_s" in result:
            rates -= place.rate_mbps * result["dark_s"] / result["seconds"]
        return rates


def scenarios(rate_mbps):
    return [
        Scenario("clean", "all well"),
        Scenario("slow", "one plane 10x slower",
                 ("--rate", f"{rate_mbps / 10:g}mbit")),
        Scenario("loss", "1% loss on one plane", ("--loss", "1%")),
        Scenario("ce", "10% random CE on one plane", ("--ce", "10%")),
        Scenario("dark", "one plane dark for a while", dark=True),
    ]


class Trouble:
    """Of one RDMA plane of several: all the while, or for a while."""

    def __init__(self, name, title, senders="ab", words=(), passes=False):
        self.name, self.title = name, title
        self.senders, self.words, self.passes = senders, words, passes

    def events(self, place, plane, duration_s):
        """For a Timeline; and what is to be undone afterwards."""
        def begin():
            place.path(plane, self.senders, *self.words)

        def end():
            place.path(plane, "ab")
        if not self.words:
            return []
        if not self.passes:
            begin()
            return []
        # What starts has until then to connect.
        return [(DARK_AT * duration_s + RDMA_START_S, "dark", begin),
                (LIGHT_AT * duration_s + RDMA_START_S, "light", end)]


# Until a program there has connected.
RDMA_START_S = 1.5


def troubles(slow_rate):
    return [
        Trouble("well", "all is well"),
        Trouble("lossy", "loses 5%", words=("loss", "5%")),
        Trouble("slow", f"{slow_rate}, a tenth", words=("rate", slow_rate)),
        Trouble("far", "2 ms more delay", words=("delay", "2ms")),
        Trouble("black-way", "black one way for a while", "a",
                ("loss", "100%"), passes=True),
        Trouble("black", "black both ways for a while", "ab",
                ("loss", "100%"), passes=True),
    ]


def victim(planes):
    """The plane that suffers. Not the first, on which everybody connects."""
    return min(2, planes - 1)


def judge_darkness(samples, plane, dark_at, light_at, seconds, rate_mbps):
    """What the watcher saw of a run that took so long and in which `plane` was
    dark for a while: samples are (time, [received bytes of each plane])."""
    result = {"dark_s": light_at - dark_at}
    planes = len(samples[0][1]) if samples else 0

    # The run proper begins with the first traffic. What trickles in when it is
    # over, from the senders' buffers, is none of it.
    silence_bytes_per_s = _SILENCE * planes * rate_mbps * 1e6 / 8
    loud = [later[0] for earlier, later in zip(samples, samples[1:])
            if sum(later[1]) - sum(earlier[1]) >
            silence_bytes_per_s * (later[0] - earlier[0])]
    loud = [at for at in loud if at <= loud[0] + seconds]
    if len(loud) < 2:
        return result
    result["silence_ms"] = 1e3 * max(
        (b - a for a, b in zip(loud, loud[1:]) if b > dark_at), default=0)

    def share(begin, end, of_planes):
        inside = [s for s in samples if begin <= s[0] <= end]
        if len(inside) < 2:
            return None
        seconds = inside[-1][0] - inside[0][0]
        moved = sum(inside[-1][1]) - sum(inside[0][1])
        return 100 * moved * 8 / seconds / 1e6 / (of_planes * rate_mbps)

    phases = {
        "before_percent": share(loud[0] + SETTLE_S, dark_at, planes),
        "dark_percent": share(dark_at + SETTLE_S, light_at, planes - 1),
        "after_percent": share(light_at + 2, loud[-1], planes)}
    result.update({name: value for name, value in phases.items()
                   if value is not None})

    needed = _IN_USE * rate_mbps * 1e6 / 8
    for i, (at, counts) in enumerate(samples):
        if at < light_at:
            continue
        for later_at, later in samples[i + 1:]:
            if later_at - at < _WINDOW_S:
                continue
            if (later[plane] - counts[plane]) / (later_at - at) > needed:
                result["back_s"] = at - light_at
            break
        if "back_s" in result:
            break
    return result
