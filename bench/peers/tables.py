"""Runs become medians, ratios, and tables in markdown."""

import statistics


class Cell:
    """All runs of one contender at one task."""

    def __init__(self):
        self.runs = []    # What measure() returned, and the load beside it.
        self.errors = []

    def values(self, key):
        return [run[key] for run in self.runs if key in run]

    def median(self, key):
        values = self.values(key)
        return statistics.median(values) if values else None


def number(value):
    """Three digits that matter, and no exponent."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"


def spread(cell, key):
    """`median (min..max)`, or why there is none."""
    values = cell.values(key)
    if not values:
        return "failed" if cell.errors else "-"
    text = number(statistics.median(values))
    if len(values) > 1:
        text += f" ({number(min(values))}..{number(max(values))})"
    if cell.errors:
        text += f", {len(cell.errors)} failed"
    return text


def ratio(cell, base, key):
    """How many times the base, from the medians."""
    mine, other = cell.median(key), base.median(key)
    return f"{mine / other:.2f}x" if mine and other else "-"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |",
             "|" + "|".join("---" if i == 0 else "---:"
                            for i in range(len(head))) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def load_line(cells):
    """What else the machine did during these runs."""
    loads = [run["load"] for cell in cells for run in cell.runs]
    if not loads:
        return ""

    def words(key):
        values = [load[key] for load in loads]
        return f"{statistics.median(values):.0f}% (at most {max(values):.0f}%)"
    averages = [load["loadavg"] for load in loads]
    return (f"Machine during these runs: load average {min(averages):.1f} to "
            f"{max(averages):.1f}; other processes had "
            f"{words('others_percent')} of the cores, the hypervisor took "
            f"{words('stolen_percent')}.")


def footnotes(cells_by_title):
    """Why runs failed, each reason once."""
    seen = {}
    for title, cell in cells_by_title:
        for error in cell.errors:
            seen.setdefault((title, error), 0)
            seen[title, error] += 1
    return [f"* {title}, {count} run(s) failed: {error}"
            for (title, error), count in seen.items()]
