#!/usr/bin/env python3
"""Runs the scenarios of docs/scenarios.md, writes docs/results/simulated.md.

usage: sim_results.py HAWSER_SIM FOLDER   runs what is not in FOLDER yet
       sim_results.py FOLDER              only writes the page

Each run leaves its JSON in FOLDER; one that is there is not run again, so what
was broken off goes on where it was. With matplotlib (Debian's python3 knows it
where python3-matplotlib is installed) there is a plot as well.
"""
import json
import pathlib
import subprocess
import sys

# Cheap ones first: a table of what there is can be written at any time.
COMPARED = ["perm1024", "perm1024_slow", "s2", "s3", "s6_1", "incast15",
            "incast127", "incast1023", "victim", "s8_butterfly", "s8_rings",
            "s8_all_to_all", "all_to_all_4", "black", "planes", "planes_dead",
            "long", "loss_1e3", "loss_1e2", "tornado", "rails", "halving",
            "background", "two_sites", "perm8192", "perm8192_slow"]
SCHEDULERS = ["weave", "reps", "two_choices", "oblivious", "ecmp"]
CONTROLS = ["nscc", "swift", "dctcp", "fixed_window"]
CONTROLLED = ["s1", "s2", "perm1024", "perm1024_slow", "s6_1", "s6_4", "s4",
              "s8_all_to_all", "loss_1e3"]
SECONDS = 900  # The most that one run may take.
# Scenario: the tails of uet-htsim 40ccb05 in us, mixed and oblivious with NSCC.
REFERENCE = {
    "s1": (198.6, 215.2), "s2": (187.9, 254.1), "s3": (60.8, 62.7),
    "s4": (5247.4, 5236.3), "s4_64": (10454.9, 10449.3),
    "s4_400": (1335.8, 1321.6), "s5": (1403.4, 1388.7), "s6_0": (181.9, 213),
    "s6_1": (203.7, 270), "s6_4": (259.6, 484), "s8_butterfly": (375.4, 379.1),
    "s8_rings": (491.8, 491.8), "s8_all_to_all": (905.4, 1193.8),
    "perm1024": (202.1, 207.9), "perm1024_slow": (219.6, 280.8),
    "all_to_all_4": (1907.9, 1884.3)}


def run(sim, folder, name, arguments):
    """The runs of one call, or None if they are not there and may not be."""
    path = folder / (name + ".json")
    if not path.exists() and sim:
        try:
            done = subprocess.run([sim, "run", *arguments, "--json"],
                                  capture_output=True, text=True, check=False,
                                  timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return None
        path.with_suffix(".part").write_text(done.stdout)
        path.with_suffix(".part").rename(path)
    return json.loads(path.read_text())["runs"] if path.exists() else None


def mean(runs, key):
    return sum(one[key] for one in runs) / len(runs)


def spread(runs):
    tails = [one["tail_us"] for one in runs]
    return f"{min(tails):.1f}..{max(tails):.1f}"


def trust(sim, folder):
    lines = ["| scenario | scheduler | reference | here, 8 seeds | |",
             "|---|---|---|---|---|"]
    for scenario, tails in REFERENCE.items():
        for scheduler, tail in zip(("mixed", "oblivious"), tails):
            paths = 256 if scenario in ("s3", "perm1024") else 128
            runs = run(sim, folder, f"ref_{scenario}_{scheduler}", [
                scenario, "--hosts=reference", f"--scheduler={scheduler}",
                f"--paths={paths}", "--repeat=8",
                "--set=queue.trimming=true,queue.limit=1 bdp"])
            if runs is None:
                continue
            ours = mean(runs, "tail_us")
            apart = 100 * (ours / tail - 1)
            lines.append(f"| {scenario} | {scheduler} | {tail} | {ours:.1f} "
                         f"[{spread(runs)}] | {apart:+.1f}% |")
    return lines


def compared(sim, folder):
    """Every scheduler on every scenario, the scheduler changing last."""
    table = {}
    for scheduler in SCHEDULERS:
        choice = (["--scheduler=round_robin", "--paths=1"]
                  if scheduler == "ecmp" else [f"--scheduler={scheduler}"])
        for scenario in COMPARED:
            runs = run(sim, folder, f"{scheduler}_{scenario}",
                       [scenario, *choice])
            if runs is not None:
                table[scheduler, scenario] = runs[0]
    return table


def ours(table):
    lines = ["| scenario | tail us | ratio to ideal | to bound | p99 us | "
             "mean us | resent | marked | queue peak | victims' tail | "
             "recovered within |", "|---" * 11 + "|"]
    for scenario in COMPARED:
        one = table.get(("weave", scenario))
        if one is None:
            lines.append(f"| {scenario} | not run |" + " |" * 9)
            continue
        extra = [f"{one[key]:.1f}" if one.get(key) else ""
                 for key in ("victim_tail_us", "recovery_us")]
        lines.append(
            f"| {scenario} | {tail(one)} | {one['ratio']:.3f} | "
            f"{one['bound_ratio']:.3f} | {one['p99_us']:.1f} | "
            f"{one['mean_us']:.1f} | {100 * one['resent_share']:.3f}% | "
            f"{100 * one['marked_share']:.1f}% | "
            f"{one['queue_peak_packets']:.0f} | {extra[0]} | {extra[1]} |")
    return lines


def tail(one):
    """A run that was given up has none."""
    if one is None:
        return "not run"
    if not one["finished"]:
        return f"{one['unfinished']} of {one['messages']} unfinished"
    return f"{one['tail_us']:.1f}"


def tails(table):
    lines = ["| scenario | ideal | " + " | ".join(SCHEDULERS) + " |",
             "|---" * (len(SCHEDULERS) + 2) + "|"]
    for scenario in COMPARED:
        cells = [table.get((scheduler, scenario)) for scheduler in SCHEDULERS]
        ideal = next((one["bound_us"] for one in cells if one), None)
        lines.append(f"| {scenario} | {f'{ideal:.1f}' if ideal else ''} | " +
                     " | ".join(map(tail, cells)) + " |")
    return lines


def controls(sim, folder):
    lines = ["| scenario | ideal | " + " | ".join(CONTROLS) + " |",
             "|---" * (len(CONTROLS) + 2) + "|"]
    for scenario in CONTROLLED:
        cells = [run(sim, folder, f"weave_{control}_{scenario}",
                     [scenario, f"--congestion={control}"])
                 for control in CONTROLS]
        ideal = next((one[0]["bound_us"] for one in cells if one), None)
        lines.append(f"| {scenario} | {f'{ideal:.1f}' if ideal else ''} | " +
                     " | ".join(tail(one and one[0]) for one in cells) + " |")
    return lines


def plot(table, path):
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as plt
    except ImportError:
        return False
    shown = [name for name in COMPARED
             if all((one, name) in table for one in SCHEDULERS)]
    if not shown:
        return False
    # The same bytes for the same figures.
    matplotlib.rcParams["svg.hashsalt"] = "hawser"
    figure, axes = plt.subplots(figsize=(11, 4))
    width = 0.8 / len(SCHEDULERS)
    for i, scheduler in enumerate(SCHEDULERS):
        ratios = [table[scheduler, name]["bound_ratio"]
                  if table[scheduler, name]["finished"] else 0
                  for name in shown]
        axes.bar([at + width * i for at in range(len(shown))], ratios, width,
                 label=scheduler)
    axes.set_xticks([at + 0.4 for at in range(len(shown))], shown, rotation=60,
                    ha="right")
    axes.set_yscale("log")
    axes.set_ylabel("tail, times what is possible")
    axes.legend(ncol=len(SCHEDULERS), loc="lower center", frameon=False,
                bbox_to_anchor=(0.5, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return True


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sim = sys.argv[1] if len(sys.argv) == 3 else None
    folder = pathlib.Path(sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    page = pathlib.Path(__file__).parent.parent / "docs/results/simulated.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    table = compared(sim, folder)
    parts = ["# Simulated results", "",
             "Made by `tools/sim_results.py build/release/hawser_sim FOLDER`;",
             "docs/scenarios.md says what each scenario is.", "",
             "## Our hosts, without trimming, one setting for all", "",
             *ours(table), "",
             "## Schedulers, in the same hosts: tails in us", "",
             "`ideal` is what the network as it is at the start could do.", "",
             *tails(table), ""]
    if plot(table, page.parent / "schedulers.svg"):
        parts += ["![tails by scheduler](schedulers.svg)", ""]
    parts += ["## Congestion controls, with weave in the same hosts", "",
              *controls(sim, folder), "",
              "## The simulator against the reference", "",
              "Hosts and trimming switches as uet-htsim 40ccb05 has them;",
              "tails in us. The reference's are of 8 seeds for s1, of one",
              "elsewhere.", "", *trust(sim, folder), ""]
    page.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
