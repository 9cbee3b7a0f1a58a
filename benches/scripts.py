"""Workloads of one statement or two, as pgbench scripts of our own."""

import statistics

from cases import EVERYBODY, OURS, WITHOUT_FDW, Case, Workload
from load import pgbench
from systems import PREPARED
from tables import FELLOW, TENANT

ACCOUNT = "SELECT abalance FROM {}pgbench_accounts WHERE aid = :aid;"
ANY_ACCOUNT = "\\set aid random(1, 100000 * {scale})\n"
# Words that are found nowhere; both scripts make pgbench draw the same.
ANY_WORD = "\\set word random(100000000, 999999999)\n"
LITERALS = "SELECT abalance FROM {tenant}.pgbench_accounts WHERE aid = {aid} AND filler <> '{word}';"
ORM = """
SELECT "order_lines"."id", "order_lines"."quantity", "order_lines"."unit_price", "order_lines"."order_id",
 "order_lines"."product_id", "orders"."id", "orders"."number", "orders"."status", "orders"."placed_at",
 "orders"."customer_id", "customers"."id", "customers"."first_name", "customers"."last_name", "customers"."email",
 "customers"."phone", "customers"."created_at", "customers"."country_id", "countries"."id", "countries"."code",
 "countries"."name", "products"."id", "products"."sku", "products"."name", "products"."price",
 "products"."category_id", "products"."supplier_id", "categories"."id", "categories"."slug", "categories"."name",
 "suppliers"."id", "suppliers"."name", "suppliers"."email" FROM "order_lines"
 INNER JOIN "orders" ON ("order_lines"."order_id" = "orders"."id")
 INNER JOIN "customers" ON ("orders"."customer_id" = "customers"."id")
 INNER JOIN "countries" ON ("customers"."country_id" = "countries"."id")
 INNER JOIN "products" ON ("order_lines"."product_id" = "products"."id")
 INNER JOIN "categories" ON ("products"."category_id" = "categories"."id")
 INNER JOIN "suppliers" ON ("products"."supplier_id" = "suppliers"."id")
 WHERE ("orders"."id" = :order AND "orders"."status" IN ('paid', 'sent', 'returned') AND
 "order_lines"."quantity" > 0 AND "products"."price" >= 0) ORDER BY "order_lines"."id" ASC LIMIT 21;
"""


def every():
    return [
        tenants(), literals(), django(), orm(), latency(), churn(),
    ]


def asked(name, text, *, mode="simple", clients, label="", systems=WITHOUT_FDW, more=(), weight=1):
    """A case that runs `text` as a script."""
    def run(bench, system):
        script = bench.script(name, text)
        return pgbench(
            system, TENANT, mode=mode, clients=bench.clients(clients), script=script, more=more, **bench.timed(weight)
        )

    return Case(label, run, systems)


def tenants():
    """The same client asks two shards in turn; beside it, one tenant twice."""
    one = ANY_ACCOUNT + 2 * (ACCOUNT.format(f"{TENANT}.") + "\n")
    two = ANY_ACCOUNT + ACCOUNT.format(f"{TENANT}.") + "\n" + ACCOUNT.format(f"{FELLOW}.") + "\n"
    cases = []
    for clients in (1, 16):
        told = f"{clients} client{'s' * (clients > 1)}"
        cases.append(asked("one-tenant", one, clients=clients, label=f"one tenant, {told}", systems=EVERYBODY))
        cases.append(asked("two-tenants", two, clients=clients, label=f"two tenants, {told}", systems=[*OURS, "fdw"]))
    return Workload("tenants", "two tenants on two shards in turn by one client (2 statements)", cases)


def literals():
    """A statement whose literals differ each time, beside one that is the same each time."""
    numbers = {"repeated": ("4711", "123456789"), "unique": (":aid", ":word")}
    cases = []
    for label, (aid, word) in numbers.items():
        text = ANY_ACCOUNT + ANY_WORD + LITERALS.format(tenant=TENANT, aid=aid, word=word)
        cases.append(grown(asked(f"literals-{label}", text, clients=16, label=label, weight=2)))
    return Workload("literals", "statements with repeated and with unique literals, simple, 16 clients", cases,
                    columns=["tps", "cpu", "peak_mb", "grown_mb"])


def grown(case):
    """And by how much the process grew meanwhile."""
    run = case.run

    def watched(bench, system):
        meter = system.meter()
        before = meter and meter.memory()[0]
        found = run(bench, system)
        return found | ({"grown_mb": (found["rss_kib"] - before) / 1024} if before else {})

    case.run = watched
    return case


def django():
    """django-tenants: two Query messages for each statement."""
    text = ANY_ACCOUNT + f"SET search_path = {TENANT}, public;\n" + ACCOUNT.format("")
    cases = [
        asked("django", text, clients=clients, label=f"{clients} client{'s' * (clients > 1)}", weight=2)
        for clients in (1, 16)
    ]
    return Workload("django", "SET search_path, then SELECT, as two messages", cases,
                    columns=["tps", "latency_ms", "cpu", "peak_mb"])


def orm():
    text = "\\set order random(1, 10000)\n" + ORM.strip().replace("\n", "")
    cases = [asked("orm", text, mode=mode, clients=16, label=mode) for mode in ("simple", "extended", PREPARED)]
    return Workload("orm", "an ORM's SELECT with six joins (1.5 kB), 16 clients", cases)


def latency():
    """pgbench -l: how long each transaction took."""
    cases = []
    for mode in ("simple", PREPARED):
        cases.append(Case(mode, lambda bench, system, mode=mode: logged(bench, system, mode), EVERYBODY))
    return Workload("latency", "point read, one client", cases, columns=["p50_us", "p95_us", "p99_us", "cpu"])


def logged(bench, system, mode):
    prefix = bench.place / "latency"
    for old in bench.place.glob("latency.*"):
        old.unlink()
    found = pgbench(
        system, TENANT, mode=mode, clients=1, script="select-only", more=["-l", "--log-prefix", prefix], **bench.timed(2)
    )
    micros = []
    for log in bench.place.glob("latency.*"):
        micros += [int(line.split()[2]) for line in log.read_text().splitlines()]
        log.unlink()
    hundredths = statistics.quantiles(micros, n=100, method="inclusive")
    return found | {"p50_us": hundredths[49], "p95_us": hundredths[94], "p99_us": hundredths[98]}


def churn():
    """A new connection, with SCRAM, for each statement."""
    case = asked("churn", "SELECT 1;", clients=4, more=["-C"], weight=2)
    return Workload("churn", "a new connection with SCRAM for each SELECT 1, 4 clients", [case],
                    columns=["tps", "cpu", "peak_mb"])
