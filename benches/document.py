"""docs/performance.md: what is in it is written by a run, but for what stands above it."""

import re

import machine
import report
from run import ROOT

DOCS = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "bench"
BEGIN, END = "<!-- Written by `make bench`. -->", "<!-- End of what is written. -->"
# Which picture stands before which workloads.
CHAPTERS = [
    ("pgbench: select-only", "select-*", ["select-tps.svg", "select-cpu.svg"]),
    ("pgbench: TPC-B-like", "tpcb-*", ["tpcb-tps.svg", "tpcb-cpu.svg"]),
    ("Latency", "latency", ["latency.svg"]),
    ("Tenants, literals, paths, joins, connections", "tenants literals django orm churn", ["statements.svg"]),
    ("Streams", "copy-out copy-in million-rows", ["streams.svg"]),
    ("Crowds", "idle directory", ["crowds.svg"]),
]


def write(about, results, workloads, verdicts):
    # It takes a second to load.
    import pictures

    drawn = pictures.draw(results, PICTURES)
    parts = [machine_text(about), "## Targets", markdown(report.verdict_rows(verdicts), left=4)]
    for title, names, shown in CHAPTERS:
        parts.append(f"## {title}")
        parts += [f"![{drawn[name]}](bench/{name})" for name in shown if name in drawn]
        for workload in workloads:
            if belongs(workload.name, names):
                parts += chapter(results, workload)
    before, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n\n".join(parts)
    DOCS.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def belongs(name, names):
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in names.split())


def chapter(results, workload):
    rows = report.lines(results, workload)
    if len(rows) == 1:
        return []
    found = [f"### {workload.title}", f"`{machine.how(workload.name)}`", markdown(rows)]
    commands = dict.fromkeys(
        measured.command for measured in results.measurements
        if measured.workload == workload.name and measured.system in ("veneer", "direct")
    )
    return [*found, "\n".join(f"    {shortened(command)}" for command in commands)]


def shortened(command):
    """As one would type it at the root of the project."""
    return re.sub(r"^/\S*/bin/", "", command).replace(f"{ROOT}/", "")


def machine_text(about):
    return "\n".join(["## Measured", "", *(f"- {line}" for line in machine.told(about).splitlines())])


def markdown(rows, left=1):
    """A table, its first `left` columns to the left."""
    rule = ["---" if i < left else "--:" for i in range(len(rows[0]))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])
