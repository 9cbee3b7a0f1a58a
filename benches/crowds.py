"""Workloads of many: clients that only sit there, and tenants that nobody asks for."""

import asyncio
import time

from cases import OURS, Case, Workload
from load import pgbench
from clusters import TENANTS
from processes import Failure
from systems import PgBouncer, Veneer
from tables import TENANT
from wire import Idler

# Logging in at once.
AT_ONCE = 64
LOGIN_SECONDS_MAX = 120
CALM_TRIES_MAX = 10
# Of one core: no work.
CALM_SHARE = 0.02
COUNTS = [10, 10_000, 100_000]


def every():
    return [
        Workload(
            "idle", "10,000 clients that have asked SELECT 1 once, and nothing since",
            [Case("", idle, [*OURS, "pgbouncer"])], columns=["kib_each", "kib_each_silent", "rss_mb", "login_s"],
        ),
        Workload(
            "directory", "10, 10,000 and 100,000 tenants in the directory; select-only, 16 clients",
            [directory(count) for count in COUNTS], columns=["start_s", "rss_mb", "tps", "cpu"],
        ),
    ]


def fresh(bench, system, **more):
    """The same program, in a process of its own."""
    if isinstance(system, PgBouncer):
        return PgBouncer(bench.world, name="pgbouncer-fresh")
    return Veneer(bench.world, system.binary, f"{system.name}-fresh", system.title, **more)


def idle(bench, system):
    lone = fresh(bench, system)
    try:
        lone.start()
        return asyncio.run(sit(lone, bench.idlers, bench.calm_seconds))
    finally:
        lone.stop()


async def sit(system, count, calm_seconds):
    """Memory per client, after the login and after a first statement."""
    meter, environment = system.meter(), system.environment(TENANT)
    turns, idlers = asyncio.Semaphore(AT_ONCE), []

    async def come():
        async with turns:
            idlers.append(await Idler().open(environment))

    async def ask(idler):
        async with turns:
            await idler.ask("SELECT 1")

    empty = meter.memory()[0]
    began = time.monotonic()
    try:
        async with asyncio.timeout(LOGIN_SECONDS_MAX):
            await asyncio.gather(*(come() for _ in range(count)))
            took = time.monotonic() - began
            silent = meter.memory()[0]
            await asyncio.gather(*(ask(idler) for idler in idlers))
    except TimeoutError:
        raise Failure(f"{len(idlers)} of {count} clients were there after {LOGIN_SECONDS_MAX} s") from None
    # What a proxy does about buffers that are not used any more, it may do now.
    await asyncio.sleep(calm_seconds)
    rss = meter.memory()[0]
    # They are still there.
    await asyncio.gather(*(idler.ask("SELECT 1") for idler in idlers[:: max(count // 10, 1)]))
    for idler in idlers:
        idler.close()
    return {
        "kib_each": (rss - empty) / count, "kib_each_silent": (silent - empty) / count, "rss_mb": rss / 1024,
        "empty_mb": empty / 1024, "login_s": took,
        "command": f"{count} clients of benches/wire.py, {AT_ONCE} logging in at a time",
    }


def calm(meter, seconds):
    """RSS once a process does nothing any more: not all of a start is done at the first answer."""
    before = meter.cpu()[0]
    for _ in range(CALM_TRIES_MAX):
        time.sleep(seconds)
        now = meter.cpu()[0]
        if now - before < seconds * CALM_SHARE:
            break
        before = now
    return meter.memory()[0]


def directory(count):
    def run(bench, system):
        lone = fresh(bench, system, tenants=count - len(TENANTS))
        try:
            began = time.monotonic()
            lone.start(poll=0.002)
            started = time.monotonic() - began
            rss = calm(lone.meter(), bench.calm_seconds)
            found = pgbench(lone, TENANT, clients=bench.clients(16), script="select-only", **bench.timed(2))
        finally:
            lone.stop()
        return found | {"start_s": started, "rss_mb": rss / 1024}

    return Case(f"{count:,} tenants", run, OURS)
