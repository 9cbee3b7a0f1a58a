"""Workloads that move much at once: COPY out and in, and a result of a million rows."""

import time

import tables
from clusters import DATABASE
from cases import EVERYBODY, Case, Workload
from load import Samples, memory, words
from processes import program, run
from tables import TENANT
from wire import Reader

SECONDS_MAX = 180
MEMORY_MB_MAX = 64


def every():
    return [
        Workload("copy-out", "psql \\copy of 1 GB to /dev/null", [Case("", copy_out)], columns=STREAM, prepare=bulk),
        Workload("copy-in", "psql \\copy of 1 GB from a file", [Case("", copy_in)], columns=STREAM, prepare=bulk_file),
        Workload(
            "million-rows", "1,000,000 rows of two numbers, one client that only reads", [Case("", million, EVERYBODY)],
            columns=["seconds", "mb_per_s", "cpu_seconds", "peak_mb"],
        ),
    ]


STREAM = ["mb_per_s", "seconds", "cpu_seconds", "peak_mb"]


def bulk(bench):
    tables.make_bulk(bench.world, bench.megabytes)


def bulk_file(bench):
    """What `cyberdyne.bulk` holds, as COPY writes it."""
    bulk(bench)
    path = bench.place / f"bulk-{bench.megabytes}.copy"
    if not path.exists():
        draft = path.with_suffix(".draft")
        direct = bench.direct.environment(TENANT)
        run([program("psql"), "-qX", "-c", f"\\copy {TENANT}.bulk TO '{draft}'"], seconds=SECONDS_MAX, env=direct)
        draft.rename(path)
    bench.bulk_file = path


def copy_out(bench, system):
    return psql(bench, system, f"\\copy {TENANT}.bulk TO /dev/null")


def copy_in(bench, system):
    with bench.world.shard_of(TENANT).connect(DATABASE) as conn:
        conn.execute(f"TRUNCATE {TENANT}.intake")
    found = psql(bench, system, f"\\copy {TENANT}.intake FROM '{bench.bulk_file}'")
    with bench.world.shard_of(TENANT).connect(DATABASE) as conn:
        conn.execute(f"TRUNCATE {TENANT}.intake")
    return found


def psql(bench, system, text):
    command = [program("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-c", text]
    found = measured(system, lambda: run(command, seconds=SECONDS_MAX, env=system.environment(TENANT)))
    found["mb_per_s"] = bench.megabytes / found["seconds"]
    return found | {"command": words(command)}


def million(bench, system):
    text = "SELECT aid, abalance FROM pgbench_accounts"
    reader = Reader(system.environment(TENANT), SECONDS_MAX)
    size = []
    try:
        found = measured(system, lambda: size.append(reader.drain(text)))
    finally:
        reader.close()
    found["mb_per_s"] = size[0] / 1e6 / found["seconds"]
    return found | {"command": f"{text} (read by benches/wire.py)"}


def measured(system, act):
    """Seconds, and what the proxy used for it."""
    meter = system.meter()
    if meter is None:
        began = time.monotonic()
        act()
        return {"seconds": time.monotonic() - began}
    meter.forget_peak()
    with Samples(meter) as samples:
        began = time.monotonic()
        act()
        seconds = time.monotonic() - began
    used = samples.whole()
    return {"seconds": seconds, **used} | memory(meter)
