"""What stands side by side: PostgreSQL itself, veneer, PgBouncer and postgres_fdw, each with the same logins."""

import contextlib
import os

import psycopg
from clusters import DATABASE, FDW, PASSWORD, ROLE, SHARDS, TENANTS, free_port, until
from processes import ACCOUNT, ClusterMeter, Meter, Process, give, program

# Backends per shard and role, and per database of PgBouncer.
POOL = 20
# In session mode each client needs one of its own.
SESSION_POOL = 300
CLIENTS_MAX = 12_000
PREPARED = "prepared"


class System:
    """`name` is for the command line and JSON, `title` for people."""

    def __init__(self, world, name, title):
        self.world, self.name, self.title = world, name, title

    def start(self):
        pass

    def stop(self):
        pass

    def check(self):
        """Raises when it has ended by itself."""

    def environment(self, tenant, mode="simple"):
        """For a client of libpq that has the tenant's schema as its path."""
        ours = {
            "PGHOST": "127.0.0.1", "PGPORT": str(self.port(tenant, mode)), "PGDATABASE": DATABASE, "PGUSER": ROLE,
            "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable",
        }
        ours |= self.path(tenant)
        others = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return others | ours

    def path(self, tenant):
        return {"PGOPTIONS": f"-c search_path={tenant},public"}

    def meter(self, mode="simple"):
        """Of what stands between client and shard; None if nothing does."""

    def first_query(self, tenant, mode="simple"):
        env = self.environment(tenant, mode)
        with psycopg.connect(
            host=env["PGHOST"], port=env["PGPORT"], dbname=env["PGDATABASE"], user=ROLE, password=PASSWORD,
            options=env.get("PGOPTIONS", ""), autocommit=True, connect_timeout=10,
        ) as conn:
            # No parameters, so that nothing is prepared.
            assert conn.execute("SELECT abalance FROM pgbench_accounts WHERE aid = 1").fetchall() == [(0,)]


class Direct(System):
    """The shard itself."""

    def __init__(self, world):
        super().__init__(world, "direct", "direct")

    def port(self, tenant, _mode):
        return self.world.shard_of(tenant).port


class Fdw(System):
    """A PostgreSQL whose tables are all foreign."""

    def __init__(self, world):
        super().__init__(world, "fdw", "postgres_fdw")

    def port(self, _tenant, _mode):
        return self.world.clusters[FDW].port

    def meter(self, _mode="simple"):
        return ClusterMeter(self.world.clusters[FDW].pid)


class Veneer(System):
    """`veneer serve`, with a directory of its own."""

    def __init__(self, world, binary, name="veneer", title="veneer", tenants=0):
        super().__init__(world, name, title)
        self.binary = binary
        # Besides the four: how many that nobody asks for.
        self.tenants = tenants
        self.process = None

    def start(self, poll=0.05):
        place = self.world.place / self.name
        place.mkdir(exist_ok=True)
        write_secret(place / "password", PASSWORD)
        (place / "tenants.yaml").write_text(self.directory())
        self.listen = free_port()
        (place / "veneer.yaml").write_text(
            f"listen: 127.0.0.1:{self.listen}\n"
            f"database: {DATABASE}\n"
            f"pool: {{ size_max: {POOL}, wait_max: 60s }}\n"
            f"limits: {{ clients_max: {CLIENTS_MAX}, login_max: 60s }}\n"
            f"log: {{ level: warn, statements: none }}\n"
            f"users:\n  {ROLE}:\n    password: {{ scram: \"{self.world.verifier}\" }}\n    tenants: all\n"
            f"    as: {{ user: {ROLE}, password: {{ file: password }} }}\n"
        )
        command = [self.binary, "serve", "--config", place / "veneer.yaml"]
        self.process = Process(self.title, command, place / "log", env=os.environ | {"RUST_BACKTRACE": "1"})
        until(lambda: self.first_query("cyberdyne"), self.process, poll)

    def directory(self):
        lines = ["home: shard1", "shards:"]
        for shard in SHARDS:
            port = self.world.clusters[shard].port
            lines.append(f"  {shard}: {{ host: 127.0.0.1, port: {port}, database: {DATABASE} }}")
        lines.append("tenants:")
        lines += [f"  {tenant}: {{ shard: {shard} }}" for tenant, shard in TENANTS.items()]
        lines += [f"  tenant_{i:06}: {{ shard: {SHARDS[i % len(SHARDS)]} }}" for i in range(self.tenants)]
        return "\n".join(lines) + "\n"

    def stop(self):
        if self.process:
            self.process.stop()

    def check(self):
        self.process.check()

    def port(self, _tenant, _mode):
        return self.listen

    def meter(self, _mode="simple"):
        return Meter(self.process.pid)


class PgBouncer(System):
    """Two of them: in transaction mode, and in session mode for prepared statements, which 1.18 has only there."""

    def __init__(self, world, name="pgbouncer"):
        super().__init__(world, name, "PgBouncer")
        self.processes, self.ports = {}, {}

    def start(self):
        for mode, pool in (("transaction", POOL), ("session", SESSION_POOL)):
            self.start_one(mode, pool)
        for mode in ("simple", PREPARED):
            until(lambda mode=mode: self.first_query("cyberdyne", mode), self.processes[pooling(mode)])

    def start_one(self, mode, pool):
        # Where its account may go.
        place = self.world.clusters[FDW].directory.parent / f"{self.name}-{mode}"
        place.mkdir(exist_ok=True)
        place.chmod(0o711)
        self.ports[mode] = free_port()
        write_secret(place / "users", f'"{ROLE}" "{self.world.verifier}"\n')
        lines = ["[databases]"]
        for tenant in TENANTS:
            lines.append(
                f"{tenant} = host=127.0.0.1 port={self.world.shard_of(tenant).port} dbname={DATABASE} user={ROLE} "
                f"password={PASSWORD} connect_query='SET search_path = {tenant}, public'"
            )
        lines += [
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.ports[mode]}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {place / 'users'}",
            f"pool_mode = {mode}",
            f"default_pool_size = {pool}",
            f"max_client_conn = {CLIENTS_MAX}",
            # All of it would undo connect_query.
            "server_reset_query = DEALLOCATE ALL",
            "log_connections = 0",
            "log_disconnections = 0",
            "log_stats = 0",
        ]
        write_secret(place / "pgbouncer.ini", "\n".join(lines) + "\n")
        self.processes[mode] = Process(
            f"PgBouncer ({mode} mode)", [program("pgbouncer"), place / "pgbouncer.ini"], place / "log", account=ACCOUNT
        )

    def stop(self):
        for process in self.processes.values():
            process.stop()

    def check(self):
        for process in self.processes.values():
            process.check()

    def environment(self, tenant, mode="simple"):
        return super().environment(tenant, mode) | {"PGDATABASE": tenant}

    def path(self, _tenant):
        # By connect_query: it takes no `options`.
        return {}

    def port(self, _tenant, mode):
        return self.ports[pooling(mode)]

    def meter(self, mode="simple"):
        return Meter(self.processes[pooling(mode)].pid)


def pooling(mode):
    return "session" if mode == PREPARED else "transaction"


def write_secret(path, text):
    path.write_text(text)
    path.chmod(0o600)
    give(path)


@contextlib.contextmanager
def running(systems):
    """All of them at once, stopped in the end."""
    try:
        for system in systems:
            system.start()
        yield
    finally:
        for system in systems:
            system.stop()
