"""Every workload: pgbench's own scripts in every mode, and the modules of others."""

import crowds
import scripts
import streams
import tables
from cases import EVERYBODY, WITHOUT_FDW, Case, Workload
from load import pgbench
from systems import POOL, PREPARED, WIDE
from tables import TENANT

MODES = ["simple", "extended", PREPARED]
CLIENTS = [1, 16, 64, 256]
SCRIPTS = {"select": "select-only", "tpcb": "tpcb-like"}


def every():
    built_in = [
        built_in_script(name, script, mode, clients)
        for name, script in SCRIPTS.items() for mode in MODES for clients in CLIENTS
    ]
    return [*built_in, *scripts.every(), *streams.every(), *crowds.every()]


def built_in_script(name, script, mode, clients):
    writes = name == "tpcb"
    # What has a target of its own is measured for longer.
    weight = 2 if not writes and clients in (16, 64) else 1

    def run(bench, system):
        if writes:
            tables.tidy_up(bench.world, TENANT)
        # Foreign tables are read and written REPEATABLE READ: who comes second must try again.
        retries = 100_000 if writes and system.name == "fdw" else 0
        return pgbench(
            system, TENANT, mode=mode, clients=bench.clients(clients), script=script, retries=retries,
            lane=WIDE if writes and mode == PREPARED and clients > POOL else None, **bench.timed(weight),
        )

    everybody = clients in (1, 16) and mode == "simple"
    told = f"{clients} client{'s' * (clients > 1)}"
    case = Case("", run, EVERYBODY if everybody else WITHOUT_FDW)
    warm = mode == PREPARED and clients > POOL
    return Workload(f"{name}-{mode}-{clients}", f"pgbench {script}, {mode}, {told}", [case], warm=warm)
