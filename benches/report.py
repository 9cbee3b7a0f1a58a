"""What was found, for the terminal and for machines."""

import dataclasses
import json

from figures import aligned, number, spelled
from run import PLACE

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
    "rss_start_mb": "RSS MB at start",
    "login_s": "all logged in, s",
    "start_s": "first answer after s",
}


def table(bench, workload):
    """A workload's results, a line for each system (and case)."""
    rows = lines(bench, workload)
    if len(rows) == 1:
        return f"{workload.name}: nothing was measured"
    return f"{workload.name}: {workload.title}\n{aligned(rows)}"


def lines(bench, workload):
    results, name = bench.results, workload.name
    titles = {system.name: system.title for system in bench.systems}
    first = workload.columns[0]
    heading = ["system"]
    for column in workload.columns:
        heading.append(HEADINGS.get(column, column))
        if column == first:
            heading.append("/ direct")
        if column == "cpu":
            heading += ["user + system", "/ PgBouncer"]
            if bench.options.against:
                heading.append("/ before")
    rows = [heading]
    for case, system in results.rows(name):
        row = [f"{titles[system]}{', ' + case if case else ''}"]
        for column in workload.columns:
            row.append(spelled(results.spread(name, case, system, column)))
            one = (name, case, system)
            if column == first:
                row.append("" if system == "direct" else spelled(results.ratio(one, (name, case, "direct"), column)))
            if column == "cpu":
                parts = [results.spread(name, case, system, part) for part in ("cpu_user", "cpu_system")]
                row.append(" + ".join(number(part[0]) for part in parts) if all(parts) else "–")
                row.append("" if system == "pgbouncer" else spelled(results.ratio(one, (name, case, "pgbouncer"), column)))
                if bench.options.against:
                    row.append(spelled(results.ratio(one, (name, case, "before"), column)) if system == "veneer" else "")
        rows.append(row)
    return rows


def finish(bench, chosen, about):
    """Writes everything down; 1 if something failed."""
    written = {
        "about": about,
        "measurements": [dataclasses.asdict(found) for found in bench.results.measurements],
        "failures": [{"workload": name, "said": text} for name, text in bench.failures],
    }
    path = PLACE / "results.json"
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{about['minutes']} minutes; all figures: {path}")
    for name, text in bench.failures:
        print(f"FAILED: {name}: {text.splitlines()[0]}")
    return 1 if bench.failures else 0
