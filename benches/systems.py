"""What stands side by side: PostgreSQL itself, veneer, PgBouncer and postgres_fdw, each with the same logins."""

import contextlib
import os
import signal

import psycopg
from clusters import DATABASE, FDW, PASSWORD, ROLE, SHARDS, TENANTS, free_port, until
from processes import ACCOUNT, ClusterMeter, Failure, Meter, Process, give, program

# Backends per shard and role, and per database of PgBouncer.
POOL = 20
# Where each client needs one of its own.
WIDE_POOL = 300
CLIENTS_MAX = 12_000
PREPARED = "prepared"
# Ways into a system: shared backends; PgBouncer's session mode, which prepared statements want; and
# a backend for each client of veneer's, too. pgbench wants that when it prepares while others of its
# clients are in transactions: it waits for the answer, and so nobody would end those.
SHARED, SESSION, WIDE = "shared", "session", "wide"
# Columns of tables: what only a process has that we watch, and what only a process of its own has.
MEMORY = ["peak_mb", "grown_mb"]
PROXYS = ["cpu", "cpu_seconds", *MEMORY]


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

    def rest(self):
        """Gives back what only the last workload has needed."""

    def environment(self, tenant, lane=SHARED):
        """For a client of libpq that has the tenant's schema as its path."""
        ours = {
            "PGHOST": "127.0.0.1", "PGPORT": str(self.port(tenant, lane)), "PGDATABASE": DATABASE, "PGUSER": ROLE,
            "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable",
        }
        ours |= self.path(tenant)
        others = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return others | ours

    def path(self, tenant):
        return {"PGOPTIONS": f"-c search_path={tenant},public"}

    def meter(self, lane=SHARED):
        """Of what stands between client and shard; None if nothing does."""

    def meters(self, column):
        """Whether a column of a table has a figure for it."""
        return True

    def first_query(self, tenant, lane=SHARED):
        env = self.environment(tenant, lane)
        with psycopg.connect(
            host=env["PGHOST"], port=env["PGPORT"], dbname=env["PGDATABASE"], user=ROLE, password=PASSWORD, sslmode="disable",
            options=env.get("PGOPTIONS", ""), autocommit=True, connect_timeout=10,
        ) as conn:
            # No parameters, so that nothing is prepared.
            found = conn.execute("SELECT aid FROM pgbench_accounts WHERE aid = 1").fetchall()
            if found != [(1,)]:
                raise Failure(f"{self.title} answers {found} for the first account of {tenant}")


class Direct(System):
    """The shard itself."""

    def __init__(self, world):
        super().__init__(world, "direct", "direct")

    def port(self, tenant, _lane):
        return self.world.shard_of(tenant).port

    def meters(self, column):
        return column not in PROXYS


class Fdw(System):
    """A PostgreSQL whose tables are all foreign."""

    def __init__(self, world):
        super().__init__(world, "fdw", "postgres_fdw")

    def port(self, _tenant, _lane):
        return self.world.clusters[FDW].port

    def meter(self, _lane=SHARED):
        return ClusterMeter(self.world.clusters[FDW].pid)

    def meters(self, column):
        return column not in MEMORY


class Veneer(System):
    """`veneer serve`, with a directory of its own."""

    def __init__(self, world, binary, name="veneer", title="veneer", tenants=0):
        super().__init__(world, name, title)
        self.binary = binary
        # Besides the four: how many that nobody asks for.
        self.tenants = tenants
        self.process = self.wide_process = None

    def start(self, poll=0.05):
        self.process, self.listen = self.serve(self.name, POOL)
        until(lambda: self.first_query("cyberdyne"), self.process, poll)

    def wide(self):
        """One with more backends, started when it is first wanted."""
        if not self.wide_process:
            self.wide_process, self.wide_listen = self.serve(f"{self.name}-wide", WIDE_POOL)
            until(lambda: self.first_query("cyberdyne", WIDE), self.wide_process)
        return self.wide_process, self.wide_listen

    def serve(self, name, pool):
        place = self.world.place / name
        place.mkdir(exist_ok=True)
        write_secret(place / "password", PASSWORD)
        (place / "tenants.yaml").write_text(self.directory())
        listen = free_port()
        (place / "veneer.yaml").write_text(
            f"listen: 127.0.0.1:{listen}\n"
            f"database: {DATABASE}\n"
            f"pool: {{ size_max: {pool}, wait_max: 60s }}\n"
            f"limits: {{ clients_max: {CLIENTS_MAX}, login_max: 60s }}\n"
            f"log: {{ level: warn, statements: none }}\n"
            f"users:\n  {ROLE}:\n    password: {{ scram: \"{self.world.verifier}\" }}\n    tenants: all\n"
            f"    as: {{ user: {ROLE}, password: {{ file: password }} }}\n"
        )
        command = [self.binary, "serve", "--config", place / "veneer.yaml"]
        return Process(self.title, command, place / "log", env=os.environ | {"RUST_BACKTRACE": "1"}), listen

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
        for process in filter(None, (self.process, self.wide_process)):
            process.stop()

    def check(self):
        for process in filter(None, (self.process, self.wide_process)):
            process.check()

    def rest(self):
        if self.wide_process:
            self.wide_process.stop()
            self.wide_process = None

    def port(self, _tenant, lane):
        return self.wide()[1] if lane == WIDE else self.listen

    def meter(self, lane=SHARED):
        return Meter((self.wide()[0] if lane == WIDE else self.process).pid)


class PgBouncer(System):
    """Two of them: in transaction mode, and in session mode for prepared statements, which 1.18 has only there."""

    def __init__(self, world, name="pgbouncer"):
        super().__init__(world, name, "PgBouncer")
        self.processes, self.ports = {}, {}

    def start(self):
        for mode, pool in (("transaction", POOL), ("session", WIDE_POOL)):
            self.start_one(mode, pool)
        for lane in (SHARED, SESSION):
            until(lambda lane=lane: self.first_query("cyberdyne", lane), self.processes[pooling(lane)])

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
            # Until the next workload.
            "server_idle_timeout = 60",
            # All of it would undo connect_query.
            "server_reset_query = DEALLOCATE ALL",
            "log_connections = 0",
            "log_disconnections = 0",
            "log_stats = 0",
        ]
        write_secret(place / "pgbouncer.ini", "\n".join(lines) + "\n")
        self.processes[mode] = Process(
            f"PgBouncer ({mode} mode)", [program("pgbouncer"), place / "pgbouncer.ini"], place / "log", account=ACCOUNT,
            # SIGINT would wait for the clients.
            stop=signal.SIGTERM,
        )

    def stop(self):
        for process in self.processes.values():
            process.stop()

    def check(self):
        for process in self.processes.values():
            process.check()

    def environment(self, tenant, lane=SHARED):
        return super().environment(tenant, lane) | {"PGDATABASE": tenant}

    def path(self, _tenant):
        # By connect_query: it takes no `options`.
        return {}

    def port(self, _tenant, lane):
        return self.ports[pooling(lane)]

    def meter(self, lane=SHARED):
        return Meter(self.processes[pooling(lane)].pid)


def pooling(lane):
    return "transaction" if lane == SHARED else "session"


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
