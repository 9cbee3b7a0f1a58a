"""The targets that this project has set itself, and whether the figures meet them."""

from dataclasses import dataclass

from figures import spelled, spread
from streams import MEMORY_MB_MAX

MODES = ["simple", "extended", "prepared"]


@dataclass
class Verdict:
    """`found` is what the figures say, per part; a part that was not measured is None."""

    what: str
    target: str
    # (label, (median, least, most) or None, whether the median meets the target)
    parts: list

    @property
    def met(self):
        """None while something was not measured."""
        if not self.parts or any(found is None for _, found, _ in self.parts):
            return None
        return all(good for *_, good in self.parts)

    def told(self):
        return "; ".join(f"{label} {spelled(found)}".strip() for label, found, _ in self.parts)


def at_most(limit):
    return lambda found: found is not None and found[0] <= limit


def at_least(limit):
    return lambda found: found is not None and found[0] >= limit


def verdicts(results):
    every = [cpu, throughput, latency, against_fdw, tenants, literals, cache, django, streams, memory, idle, directory,
             directory_start, churn]
    return [judge(results) for judge in every]


def parts(found, good):
    return [(label, value, good(value)) for label, value in found]


def to_pgbouncer(results, workload, figure):
    return results.ratio((workload, "", "veneer"), (workload, "", "pgbouncer"), figure)


def to_direct(results, workload, case, figure):
    return results.ratio((workload, case, "veneer"), (workload, case, "direct"), figure)


def cpu(results):
    found = [(mode, to_pgbouncer(results, f"select-{mode}-16", "cpu")) for mode in MODES]
    return Verdict("CPU per 100,000 transactions, 16 clients", "≤ 1.05 × PgBouncer", parts(found, at_most(1.05)))


def throughput(results):
    found = [
        (f"{mode} {clients}", to_pgbouncer(results, f"select-{mode}-{clients}", "tps"))
        for mode in MODES for clients in (16, 64)
    ]
    return Verdict("select-only, 16 and 64 clients", "≥ 0.97 × PgBouncer", parts(found, at_least(0.97)))


def latency(results):
    found = []
    for mode in ("simple", "prepared"):
        for figure, limit in (("p50", 1.6), ("p99", 2)):
            value = to_direct(results, "latency", mode, f"{figure}_us")
            found.append((f"{mode} {figure}", value, at_most(limit)(value)))
    return Verdict("point read at one client, p50 and p99", "≤ 1.6 × and ≤ 2 × direct", found)


def against_fdw(results):
    value = results.ratio(("latency", "simple", "fdw"), ("latency", "simple", "veneer"), "p50_us")
    return Verdict("point read at one client, p50", "≥ 6 × faster than postgres_fdw", parts([("", value)], at_least(6)))


def tenants(results):
    found = []
    for told in ("1 client", "16 clients"):
        one, two = (("tenants", f"{count}, {told}", "veneer") for count in ("one tenant", "two tenants"))
        rate, used = results.ratio(two, one, "tps"), results.ratio(two, one, "cpu")
        found += [(f"{told}, throughput", rate, at_least(0.95)(rate)), (f"{told}, CPU", used, at_most(1.05)(used))]
    return Verdict("two tenants on two shards in turn", "within 5 % of one tenant", found)


def literals(results):
    """pgbench and PostgreSQL have more to do with them, too: that is not counted."""
    rate = results.change("literals", "unique", "repeated", "veneer", "direct", "tps")
    used = results.change("literals", "unique", "repeated", "veneer", "pgbouncer", "cpu")
    found = [("throughput, beyond direct", rate, at_least(0.95)(rate)), ("CPU, beyond PgBouncer", used, at_most(1.05)(used))]
    return Verdict("unique literals", "within 5 % of repeated text", found)


def cache(results):
    """What the later repetitions add to what the first has left."""
    held = list(results.series("literals", "unique", "veneer", "rss_kib").values())
    grown = spread([(held[-1] - held[0]) / 1024]) if len(held) > 1 else None
    return Verdict("plan cache under unique literals", "does not grow (≤ 1 MB)", parts([("MB", grown)], at_most(1)))


def django(results):
    found = [(told, to_direct(results, "django", told, "tps")) for told in ("1 client", "16 clients")]
    return Verdict("SET search_path before every SELECT", "> 1 × direct", parts(found, at_least(1)))


def streams(results):
    names = {"copy-out": "COPY out", "copy-in": "COPY in", "million-rows": "million rows"}
    found = [(told, to_direct(results, name, "", "mb_per_s")) for name, told in names.items()]
    return Verdict("COPY of 1 GB, result of 1,000,000 rows", "≥ 0.95 × direct", parts(found, at_least(0.95)))


def memory(results):
    names = {"copy-out": "COPY out", "copy-in": "COPY in", "million-rows": "million rows"}
    found = [(f"{told}, MB", results.spread(name, "", "veneer", "peak_mb")) for name, told in names.items()]
    return Verdict("peak memory meanwhile", f"≤ {MEMORY_MB_MAX} MB", parts(found, at_most(MEMORY_MB_MAX)))


def idle(results):
    each, rss = (results.spread("idle", "", "veneer", figure) for figure in ("kib_each", "rss_mb"))
    found = [("KiB each", each, at_most(8)(each)), ("MB in all", rss, at_most(100)(rss))]
    return Verdict("10,000 idle clients", "≤ 8 KiB each, ≤ 100 MB in all", found)


def directory(results):
    most, least = (("directory", f"{count} tenants", "veneer") for count in ("100,000", "10"))
    found = [("CPU", results.ratio(most, least, "cpu"))]
    return Verdict("100,000 tenants, per query", "no measurable cost (≤ 1.05 × 10 tenants)", parts(found, at_most(1.05)))


def directory_start(results):
    start, rss = (
        results.spread("directory", "100,000 tenants", "veneer", figure) for figure in ("start_s", "rss_mb")
    )
    found = [("s", start, at_most(2)(start)), ("MB", rss, at_most(60)(rss))]
    return Verdict("100,000 tenants, start", "first answer < 2 s, ≤ 60 MB", found)


def churn(results):
    found = [("", to_pgbouncer(results, "churn", "tps"))]
    return Verdict("new connections with SCRAM", "≥ PgBouncer's rate", parts(found, at_least(1)))
