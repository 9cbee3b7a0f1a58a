"""The pictures of docs/performance.md."""

import matplotlib
import matplotlib.ticker
from report import TITLES

matplotlib.use("svg")
# The same figures give the same file; text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "veneer", "svg.fonttype": "none", "font.size": 9, "axes.axisbelow": True})

from matplotlib import pyplot  # noqa: E402 the kind of output is chosen first

COLOURS = {"direct": "#9aa5b1", "veneer": "#1f6feb", "before": "#8fb8f6", "pgbouncer": "#e08e1b", "fdw": "#b3423f"}
MODES = ["simple", "extended", "prepared"]
CLIENTS = [1, 16, 64, 256]
WIDTH_IN, HEIGHT_IN = 10, 3.2


def draw(results, folder):
    """Every picture for which there are figures; (file, what it shows)."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, told in (("select", "select-only"), ("tpcb", "TPC-B-like")):
        for figure, what in (("tps", "transactions per second"), ("cpu", "CPU seconds of the proxy per 100,000 transactions")):
            panels = [
                (mode, [(str(clients), (f"{name}-{mode}-{clients}", "")) for clients in CLIENTS], figure) for mode in MODES
            ]
            # Without foreign tables, which would flatten the others.
            drawn.append(picture(results, folder / f"{name}-{figure}.svg", panels, f"{told}: {what}, by clients", ["direct", "veneer", "pgbouncer"]))
    drawn.append(picture(
        results, folder / "latency.svg",
        [(told, [(mode, ("latency", mode)) for mode in ("simple", "prepared")], f"{told}_us") for told in ("p50", "p95", "p99")],
        "point read at one client, µs", logarithmic=True,
    ))
    drawn.append(picture(
        results, folder / "statements.svg",
        [
            ("two tenants, 16 clients", [(f"{count} tenant{'s' * (count == 'two')}", ("tenants", f"{count} tenant{'s' * (count == 'two')}, 16 clients")) for count in ("one", "two")], "tps"),
            ("literals", [(label, ("literals", label)) for label in ("repeated", "unique")], "tps"),
            ("SET + SELECT", [(label, ("django", label)) for label in ("1 client", "16 clients")], "tps"),
            ("six joins", [(mode, ("orm", mode)) for mode in MODES], "tps"),
            ("new connections", [("SELECT 1", ("churn", ""))], "tps"),
        ],
        "transactions per second", ["direct", "veneer", "pgbouncer"],
    ))
    drawn.append(picture(
        results, folder / "streams.svg",
        [("", [("COPY out", ("copy-out", "")), ("COPY in", ("copy-in", "")), ("million rows", ("million-rows", ""))], "mb_per_s")],
        "megabytes per second",
    ))
    sizes = ["10 tenants", "10,000 tenants", "100,000 tenants"]
    drawn.append(picture(
        results, folder / "crowds.svg",
        [
            ("10,000 idle clients", [("KiB each", ("idle", ""))], "kib_each"),
            *((told, [(size.split()[0], ("directory", size)) for size in sizes], figure) for told, figure in (
                ("tenants: start, s", "start_s"), ("tenants: RSS at start, MB", "rss_start_mb"), ("tenants: CPU s / 100k tx", "cpu"))),
        ],
        "many clients, many tenants",
    ))
    return [found for found in drawn if found]


def picture(results, path, panels, title, systems=tuple(TITLES), logarithmic=False):
    """Panels of bars: (title, [(label, (workload, case))], figure). None if there is nothing to show."""
    shown = [
        system for system in systems
        if any(results.spread(*where, system, figure) for _, groups, figure in panels for _, where in groups)
    ]
    if not shown:
        return None
    figure, axes = pyplot.subplots(1, len(panels), figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained", squeeze=False)
    for axis, (told, groups, column) in zip(axes[0], panels, strict=True):
        if logarithmic:
            axis.set_yscale("log")
            axis.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        bars(results, axis, groups, column, shown)
        axis.set_title(told, fontsize=9)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[system]) for system in shown]
    figure.legend(handles, [TITLES[system] for system in shown], loc="outside lower center", ncols=len(shown), frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path.name, title


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
    axis.set_xticks(range(len(groups)), [label for label, _ in groups], fontsize=8)
    axis.grid(axis="y", color="#ddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
