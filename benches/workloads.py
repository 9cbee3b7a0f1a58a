"""The workloads: what is asked, of whom, and what is written down."""

from dataclasses import dataclass, field
from typing import Callable

import tables
from load import pgbench
from systems import PREPARED
from tables import FELLOW, TENANT

MODES = ["simple", "extended", PREPARED]
CLIENTS = [1, 16, 64, 256]
# The clusters of foreign tables are slow: a few runs show by how much.
WITHOUT_FDW = ["direct", "veneer", "before", "pgbouncer"]
EVERYBODY = [*WITHOUT_FDW, "fdw"]
THROUGHPUT = ["tps", "cpu", "peak_mb"]


@dataclass
class Case:
    """One way to run a workload; `run` takes the bench and a system, and gives figures."""

    label: str
    run: Callable
    systems: list = field(default_factory=lambda: WITHOUT_FDW)


@dataclass
class Workload:
    name: str
    title: str
    cases: list
    # What the table shows; the first is compared with direct.
    columns: list = field(default_factory=lambda: THROUGHPUT)
    prepare: Callable = lambda bench: None
    repetitions_max: int = 1000


def every():
    return [*grid(), *scripts()]


def grid():
    """pgbench's own two scripts, in every mode, with few and many clients."""
    for script, name, title in (("select-only", "select", "select-only"), ("tpcb-like", "tpcb", "TPC-B-like")):
        for mode in MODES:
            for clients in CLIENTS:
                yield built_in(script, name, title, mode, clients)


def built_in(script, name, title, mode, clients):
    writes = script == "tpcb-like"

    def run(bench, system):
        if writes:
            tables.tidy_up(bench.world, TENANT)
        # Foreign tables are read and written REPEATABLE READ: who comes second must try again.
        retries = 100_000 if writes and system.name == "fdw" else 0
        return pgbench(
            system, TENANT, mode=mode, clients=clients, seconds=bench.seconds, script=script, retries=retries
        )

    few = clients in (1, 16) and mode == "simple"
    plural = "client" if clients == 1 else "clients"
    case = Case("", run, EVERYBODY if few else WITHOUT_FDW)
    return Workload(f"{name}-{mode}-{clients}", f"pgbench {title}, {mode}, {clients} {plural}", [case])


def scripts():
    return []
