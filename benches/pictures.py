"""The pictures of docs/performance.md."""

from dataclasses import dataclass, field

import matplotlib
import matplotlib.ticker
from report import TITLES

matplotlib.use("svg")
# The same figures give the same file; text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "veneer", "svg.fonttype": "none", "font.size": 9, "axes.axisbelow": True})

from matplotlib import pyplot  # noqa: E402 the kind of output is chosen first

COLOURS = {"direct": "#9aa5b1", "veneer": "#1f6feb", "before": "#8fb8f6", "pgbouncer": "#e08e1b", "fdw": "#b3423f"}
# Without foreign tables, which would flatten the others.
FAST = ["direct", "veneer", "pgbouncer"]
MODES = ["simple", "extended", "prepared"]
CLIENTS = [1, 16, 64, 256]
TENANTS = ["10", "10,000", "100,000"]
WIDTH_IN, HEIGHT_IN = 10, 3.2


@dataclass
class Panel:
    """Bars of a figure in groups: (label, (workload, case))."""

    title: str
    figure: str
    groups: list


@dataclass
class Picture:
    file: str
    title: str
    panels: list
    systems: list = field(default_factory=lambda: list(TITLES))
    logarithmic: bool = False


def every():
    return [*(grid(*names) for names in GRIDS), latency(), statements(), streams(), crowds()]


RATE, CPU = "transactions per second", "CPU seconds of the proxy per 100,000 transactions"
GRIDS = [
    ("select", "select-only", "tps", RATE), ("select", "select-only", "cpu", CPU),
    ("tpcb", "TPC-B-like", "tps", RATE), ("tpcb", "TPC-B-like", "cpu", CPU),
]


def grid(name, told, figure, what):
    panels = [
        Panel(mode, figure, [(str(clients), (f"{name}-{mode}-{clients}", "")) for clients in CLIENTS]) for mode in MODES
    ]
    return Picture(f"{name}-{figure}.svg", f"{told}: {what}, by clients", panels, FAST)


def latency():
    modes = [(mode, ("latency", mode)) for mode in ("simple", "prepared")]
    panels = [Panel(told, f"{told}_us", modes) for told in ("p50", "p95", "p99")]
    return Picture("latency.svg", "point read at one client, µs", panels, logarithmic=True)


def statements():
    tenants = [(told, ("tenants", f"{told}, 16 clients")) for told in ("one tenant", "two tenants")]
    panels = [
        Panel("in turn, 16 clients", "tps", tenants),
        Panel("literals", "tps", [(label, ("literals", label)) for label in ("repeated", "unique")]),
        Panel("SET + SELECT", "tps", [(label, ("django", label)) for label in ("1 client", "16 clients")]),
        Panel("six joins", "tps", [(mode, ("orm", mode)) for mode in MODES]),
        Panel("new connections", "tps", [("SELECT 1", ("churn", ""))]),
    ]
    return Picture("statements.svg", RATE, panels, FAST)


def streams():
    groups = [("COPY out", ("copy-out", "")), ("COPY in", ("copy-in", "")), ("million rows", ("million-rows", ""))]
    return Picture("streams.svg", "megabytes per second", [Panel("", "mb_per_s", groups)])


def crowds():
    sizes = [(count, ("directory", f"{count} tenants")) for count in TENANTS]
    panels = [
        Panel("10,000 idle clients", "kib_each", [("KiB each", ("idle", ""))]),
        Panel("tenants: start, s", "start_s", sizes),
        Panel("tenants: RSS, MB", "rss_mb", sizes),
        Panel("tenants: CPU s / 100k tx", "cpu", sizes),
    ]
    return Picture("crowds.svg", "many clients, many tenants", panels)


def draw(results, folder):
    """Every picture for which there are figures; file: what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    return {picture.file: picture.title for picture in every() if drawn(results, picture, folder / picture.file)}


def drawn(results, picture, path):
    """False if there is nothing to show."""
    shown = [
        system for system in picture.systems
        if any(results.spread(*where, system, panel.figure) for panel in picture.panels for _, where in panel.groups)
    ]
    if not shown:
        return False
    figure, axes = pyplot.subplots(
        1, len(picture.panels), figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained", squeeze=False
    )
    for axis, panel in zip(axes[0], picture.panels, strict=True):
        if picture.logarithmic:
            axis.set_yscale("log")
            axis.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        bars(results, axis, panel.groups, panel.figure, shown)
        axis.set_title(panel.title, fontsize=9)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[system]) for system in shown]
    titles = [TITLES[system] for system in shown]
    figure.legend(handles, titles, loc="outside lower center", ncols=len(shown), frameon=False)
    figure.suptitle(picture.title, fontsize=10)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def bars(results, axis, groups, column, systems):
    """A bar with its least and most for each group and system."""
    width = 0.8 / len(systems)
    for i, system in enumerate(systems):
        for place, (_, where) in enumerate(groups):
            found = results.spread(*where, system, column)
            if found:
                median, least, most = found
                axis.bar(place + (i - (len(systems) - 1) / 2) * width, median, width * 0.92, color=COLOURS[system],
                         yerr=[[median - least], [most - median]], error_kw={"elinewidth": 0.8, "ecolor": "#333"})
    axis.set_xticks(range(len(groups)), [label for label, _ in groups], fontsize=7.5)
    axis.grid(axis="y", color="#ddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
