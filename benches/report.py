"""What was found, for the terminal and for machines."""

import dataclasses
import json

from figures import Measurement, Results, aligned, number, spelled

TITLES = {
    "direct": "direct", "veneer": "veneer", "before": "veneer (before)", "pgbouncer": "PgBouncer", "fdw": "postgres_fdw",
}
HEADINGS = {
    "tps": "tx/s",
    "cpu": "CPU s / 100k tx",
    "peak_mb": "peak MB",
    "grown_mb": "RSS grown MB",
    "latency_ms": "latency ms",
    "p50_us": "p50 µs",
    "p95_us": "p95 µs",
    "p99_us": "p99 µs",
    "mb_per_s": "MB/s",
    "seconds": "s",
    "cpu_seconds": "CPU s",
    "kib_each": "KiB / client",
    "kib_each_silent": "before it asked",
    "rss_mb": "RSS MB",
    "login_s": "all logged in, s",
    "start_s": "first answer after s",
}
VERDICTS = {True: "met", False: "NOT met", None: "not measured"}


def table(results, workload):
    """A workload's results, a line for each case and system."""
    rows = lines(results, workload)
    if len(rows) == 1:
        return f"{workload.name}: nothing was measured"
    return f"{workload.name}: {workload.title}\n{aligned(rows)}"


def lines(results, workload):
    """Rows of cells, headings first; columns that say nothing are left out."""
    name = workload.name
    rows = [["system"]]
    for column in workload.columns:
        rows[0] += headings(column, column == workload.columns[0])
    for case, system in results.rows(name):
        row = [f"{TITLES[system]}{', ' + case if case else ''}"]
        for column in workload.columns:
            row += cells(results, (name, case, system), column, column == workload.columns[0])
        rows.append(row)
    kept = [i for i in range(len(rows[0])) if i < 2 or len(rows) == 1 or any(row[i] not in ("", "–") for row in rows[1:])]
    return [[row[i] for i in kept] for row in rows]


def headings(column, first):
    found = [HEADINGS[column]]
    if column == "cpu":
        found += ["user + system", "/ PgBouncer"]
    return found + (["/ direct"] if first else []) + (["/ before"] if first or column == "cpu" else [])


def cells(results, one, column, first):
    """The figure, and what it is compared with, in each repetition."""
    workload, case, system = one

    def beside(other):
        return "" if system == other else spelled(results.ratio(one, (workload, case, other), column))

    found = [spelled(results.spread(*one, column))]
    if column == "cpu":
        parts = [results.spread(*one, part) for part in ("cpu_user", "cpu_system")]
        found += [" + ".join(number(part[0]) for part in parts) if all(parts) else "–", beside("pgbouncer")]
    found += [beside("direct")] if first else []
    found += [beside("before") if system == "veneer" else ""] if first or column == "cpu" else []
    return found


def verdict_rows(verdicts):
    rows = [["what", "target", "found: median (least–most)", "verdict"]]
    return rows + [[found.what, found.target, found.told(), VERDICTS[found.met]] for found in verdicts]


def verdict_table(verdicts):
    """The found in lines of their own: they are long."""
    return "\n".join(
        f"{VERDICTS[found.met]:13}{found.what}: {found.target}\n{'':13}{found.told()}" for found in verdicts
    )


def missing(results, chosen, systems):
    """Figures that should be there and are not."""
    gaps = []
    for workload in chosen:
        for case in workload.cases:
            for system in systems:
                if system.name not in case.systems:
                    continue
                for column in workload.columns:
                    measured = system.meters(column)
                    if measured and results.spread(workload.name, case.label, system.name, column) is None:
                        gaps.append(f"{workload.name}, {case.label or 'its one case'}, {system.name}: no {column}")
    return gaps


def save(path, about, results, failures):
    written = {
        "about": about,
        "measurements": [dataclasses.asdict(found) for found in results.measurements],
        "failures": [{"workload": name, "said": text} for name, text in failures],
    }
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


def load(path):
    """What `save` has written: about, results."""
    written = json.loads(path.read_text())
    return written["about"], Results([Measurement(**found) for found in written["measurements"]])
