"""The shards of a running demo, made anew for each run of a suite, and veneers in front of them."""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import psycopg
import supply
from psycopg import sql

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "bookstore"
# Who runs the suites: the same role on every shard and, in front, the same name and password.
ROLE = "conformance"
PASSWORD = "conformance"
# The tenant that a suite has as its only world. It does not live on home, so that what goes
# astray is seen.
TENANT = "acme"
PATIENCE = 30


class World:
    """`dir` is the demo's; its veneer is left alone."""

    def __init__(self, dir):
        self.dir = Path(dir)
        self.ports = {}
        for line in (self.dir / "tenants.yaml").read_text().splitlines():
            name, _, rest = line.strip().partition(": {")
            if name.startswith("shard") and "port: " in rest:
                self.ports[name] = int(rest.split("port: ")[1].split(",")[0])
        assert sorted(self.ports) == ["shard1", "shard2", "shard3"], self.ports

    def superuser(self, shard, dbname="template1"):
        password = (self.dir / "clusters" / shard / "superuser").read_text().strip()
        return psycopg.connect(
            host="127.0.0.1", port=self.ports[shard], user="postgres", password=password,
            dbname=dbname, autocommit=True,
        )

    def renew(self, tenants, *, database=DATABASE, superuser=False, path=None, extensions=()):
        """An empty database on every shard, with `tenants` (name: shard) and the suites' role."""
        self.tenants = tenants
        self.database = database
        for shard in self.ports:
            with self.superuser(shard) as conn:
                # What the suites need not pay for: the demo logs every statement.
                conn.execute("ALTER SYSTEM SET log_statement = 'none'")
                conn.execute("ALTER SYSTEM SET jit = 'off'")
                conn.execute("SELECT pg_reload_conf()")
                for (name,) in conn.execute(
                    "SELECT datname FROM pg_database WHERE datname !~ '^template[01]$'"
                ).fetchall():
                    conn.execute(
                        sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                    )
                # Whatever a suite has left behind.
                for (name,) in conn.execute(
                    "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|bookstore_|postgres$)'"
                ).fetchall():
                    role = sql.Identifier(name)
                    conn.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
                    conn.execute(sql.SQL("DROP ROLE {}").format(role))
                rights = "SUPERUSER" if superuser else "NOSUPERUSER"
                conn.execute(f"CREATE ROLE {ROLE} LOGIN {rights} PASSWORD '{PASSWORD}'")
                conn.execute(f"CREATE DATABASE {database} OWNER {ROLE}")
                if path is not None:
                    conn.execute(f"ALTER ROLE {ROLE} SET search_path = {path}")
            with self.superuser(shard, database) as conn:
                conn.execute(f"GRANT ALL ON SCHEMA public TO {ROLE}")
                # Few systems have that locale installed, and suites use its name.
                conn.execute(
                    "CREATE COLLATION public.\"en_US\" (provider = icu, locale = 'en-US')"
                )
                for extension in extensions:
                    conn.execute(
                        sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension))
                    )
                for tenant, home in tenants.items():
                    if home == shard:
                        conn.execute(
                            sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                                sql.Identifier(tenant), sql.Identifier(ROLE)
                            )
                        )
                        # As everybody may in `public` of older versions, which suites rely on.
                        conn.execute(
                            sql.SQL("GRANT ALL ON SCHEMA {} TO PUBLIC").format(sql.Identifier(tenant))
                        )

    def directly(self, shard):
        """The environment of a client that asks a shard itself."""
        return environment(self.ports[shard], self.database)

    @contextlib.contextmanager
    def veneer(self, *, program=None, pool_size=20, config=""):
        """The environment of a client of a veneer that lives as long as the block."""
        home = self.dir / "veneer"
        home.mkdir(exist_ok=True)
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o600)
        directory = ["home: shard1", "shards:"]
        for shard, port in self.ports.items():
            directory.append(f"  {shard}: {{ host: 127.0.0.1, port: {port}, database: {self.database} }}")
        directory.append("tenants:")
        for tenant, shard in self.tenants.items():
            directory.append(f"  {tenant}: {{ shard: {shard} }}")
        (home / "tenants.yaml").write_text("\n".join(directory) + "\n")
        port = free_port()
        (home / "veneer.yaml").write_text(
            f"listen: 127.0.0.1:{port}\ndatabase: {self.database}\n"
            f"pool: {{ size_max: {pool_size}, wait_max: 30s }}\n"
            f"log: {{ file: veneer.log }}\n{config}"
            f"users:\n  {ROLE}:\n    password: {{ file: password }}\n    tenants: all\n"
            f"    as: {{ user: {ROLE}, password: {{ file: password }} }}\n"
        )
        program = program or os.environ["VENEER"]
        serving = subprocess.Popen([program, "serve", "--config", home / "veneer.yaml"], preexec_fn=supply.dies_with_us)
        try:
            until_heard(port, serving)
            yield environment(port, self.database)
            if serving.poll() is not None:
                raise AssertionError(f"veneer has ended with {serving.returncode}")
        finally:
            serving.kill()
            serving.wait()


def environment(port, database):
    ours = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": ROLE,
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": database,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # The demo speaks of its own veneer there.
    others = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return others | ours


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until_heard(port, serving):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert serving.poll() is None, "veneer does not start"
            assert time.monotonic() < deadline, "veneer does not listen"
            time.sleep(0.05)
