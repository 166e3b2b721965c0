"""Numbers with units, as tc writes them, and names."""

import argparse
import re

PPM = 1_000_000


def rate_bps(text):
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg])bit", text.lower())
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no rate, as 200mbit is")
    return int(float(found[1]) * {"k": 1e3, "m": 1e6, "g": 1e9}[found[2]])


def share_ppm(text):
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not found or float(found[1]) > 100:
        raise argparse.ArgumentTypeError(f"'{text}' is no share, as 1% is")
    return round(float(found[1]) * PPM / 100)


def delay_ns(text):
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is no delay, as 5ms is")
    ns = int(float(found[1]) * {"us": 1e3, "ms": 1e6, "s": 1e9}[found[2]])
    if ns > 10**10:
        raise argparse.ArgumentTypeError(f"{text} is more than 10s")
    return ns


def between(least, most):
    def check(text):
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text}: not {least} to {most}")
        return int(text)
    return check


def plain_name(text):
    if not re.fullmatch(r"[A-Za-z0-9_]{1,32}", text):
        raise argparse.ArgumentTypeError(
            f"'{text}': a name has 1 to 32 letters, digits and _")
    return text


def show_rate(bps):
    for unit, size in (("gbit", 10**9), ("mbit", 10**6)):
        if bps >= size:
            return f"{bps / size:g}{unit}"
    return f"{bps / 1000:g}kbit"


def show_delay(ns):
    return f"{ns / 1e6:g}ms"
