"""What a workload is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field

OURS = ["veneer", "before"]
# Foreign tables are slow: a few runs show by how much.
WITHOUT_FDW = ["direct", *OURS, "pgbouncer"]
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
    # Once before the first repetition, unmeasured: so many backends take long to begin.
    warm: bool = False
