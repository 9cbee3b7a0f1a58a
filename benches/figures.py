"""What was measured: medians with the least and the most, ratios within a repetition, and the terminal's table."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Measurement:
    """One run of one system."""

    workload: str
    case: str
    system: str
    repetition: int
    figures: dict
    command: str = ""


@dataclass
class Results:
    measurements: list = field(default_factory=list)

    def series(self, workload, case, system, figure):
        """A figure by repetition."""
        return {
            found.repetition: found.figures[figure]
            for found in self.measurements
            if (found.workload, found.case, found.system) == (workload, case, system) and figure in found.figures
        }

    def spread(self, workload, case, system, figure):
        """Median, least and most; None if it was not measured."""
        return spread(self.series(workload, case, system, figure).values())

    def ratio(self, one, other, figure):
        """Of `one` to `other`, each (workload, case, system), within each repetition."""
        above, below = self.series(*one, figure), self.series(*other, figure)
        both = [above[rep] / below[rep] for rep in above if rep in below and below[rep]]
        return spread(both)

    def change(self, workload, case, other, system, control, figure):
        """What another case costs the system more than it costs the control, which pays for it, too."""
        series = [self.series(workload, label, who, figure) for who in (system, control) for label in (case, other)]
        reps = set.intersection(*(set(one) for one in series))
        return spread(one[rep] / two[rep] / (three[rep] / four[rep]) for one, two, three, four in [series] for rep in reps)

    def rows(self, workload):
        """(case, system) in the order in which they were measured."""
        return list(dict.fromkeys((m.case, m.system) for m in self.measurements if m.workload == workload))


def spread(values):
    values = list(values)
    return (statistics.median(values), min(values), max(values)) if values else None


def number(value):
    """Short, with what digits it deserves."""
    if value is None:
        return "–"
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spelled(found):
    """`median (least–most)`"""
    if found is None:
        return "–"
    median, least, most = found
    return number(median) if least == most else f"{number(median)} ({number(least)}–{number(most)})"


def aligned(rows, left=1):
    """Text columns: the first `left` to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
