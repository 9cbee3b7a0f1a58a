"""PostgreSQL clusters of our own on loopback: three shards, and one with foreign tables of all of them."""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

import psycopg
from processes import ACCOUNT, Failure, Process, give, program, reaches, run

DATABASE = "bookstore"
ROLE = "bench"
PASSWORD = "bench"
ITERATIONS = 4096
# As in the demo.
TENANTS = {"bluth_co": "shard1", "cyberdyne": "shard2", "dunder_mifflin": "shard2", "initech": "shard3"}
SHARDS = ["shard1", "shard2", "shard3"]
FDW = "fdw"
START_SECONDS_MAX = 60
INITDB_SECONDS_MAX = 120
# The demo's own clusters log every statement and take 200 clients, both on their command line,
# which nothing overrides: these are ours. Nothing is flushed, so that no disk is measured.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "1200",
    "shared_buffers": "384MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "lc_messages": "C",
    "log_destination": "stderr",
    "logging_collector": "off",
}


def verifier():
    """What PostgreSQL, PgBouncer and veneer all keep of the password."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """DIR/NAME/data and DIR/NAME/log, with the password in DIR/superuser; the data stays for the next run."""

    def __init__(self, name, home):
        self.name, self.home, self.directory = name, home, home / name
        self.process = None
        self.port = None

    def start(self):
        data = self.directory / "data"
        if not data.exists():
            self.directory.mkdir(exist_ok=True)
            self.directory.chmod(0o711)
            give(self.directory)
            draft = self.directory / "data.draft"
            run(["rm", "-rf", draft], seconds=INITDB_SECONDS_MAX, account=ACCOUNT, cwd="/")
            run(["cp", "-a", pattern(self.home), draft], seconds=INITDB_SECONDS_MAX, account=ACCOUNT, cwd="/")
            draft.rename(data)
        self.password = (self.home / "superuser").read_text().strip()
        self.port = free_port()
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [program("postgres"), "-D", data, "-p", self.port, *settings]
        env = os.environ | {"LC_ALL": "C"}
        self.process = Process(self.name, command, self.directory / "log", account=ACCOUNT, env=env)
        self.pid = self.process.pid
        until(lambda: self.asked("SELECT 1"), self.process)

    def stop(self):
        if self.process:
            self.process.stop()

    def connect(self, dbname="postgres"):
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self.password, dbname=dbname,
            autocommit=True, connect_timeout=10,
        )

    def asked(self, text, dbname="postgres"):
        """Rows of a query, or nothing."""
        with self.connect(dbname) as conn:
            cursor = conn.execute(text)
            return cursor.fetchall() if cursor.description else None


def pattern(home):
    """An empty cluster that the others are copies of: `initdb` takes longer."""
    data, password = home / "pattern", home / "superuser"
    if data.exists():
        return data
    draft = home / "pattern.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password.write_text(secrets.token_hex(16))
    password.chmod(0o600)
    give(draft)
    give(password)
    run(
        [program("initdb"), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=postgres",
         "--pwfile", password, "--pgdata", draft],
        seconds=INITDB_SECONDS_MAX, account=ACCOUNT, cwd="/",
    )
    draft.rename(data)
    return data


def until(ready, process, poll=0.05):
    """Waits for a server that has just been started."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return ready()
        except (OSError, psycopg.OperationalError) as error:
            process.check()
            if time.monotonic() > deadline:
                said = f"{process.name} was not ready after {START_SECONDS_MAX} s: {error}\n{process.tail()}"
                raise Failure(said) from error
            time.sleep(poll)


class World:
    """Three shards and the cluster of foreign tables, with the tenants' tables in them."""

    def __init__(self, place, scale):
        self.place, self.scale = place, scale
        home = clusters_directory(place)
        self.clusters = {name: Cluster(name, home) for name in [*SHARDS, FDW]}
        self.verifier = verifier()

    @contextlib.contextmanager
    def running(self):
        try:
            for cluster in self.clusters.values():
                cluster.start()
            yield self
        finally:
            for cluster in self.clusters.values():
                cluster.stop()

    def shard_of(self, tenant):
        return self.clusters[TENANTS[tenant]]


def clusters_directory(place):
    """PLACE/postgresql, or a link of that name to where PostgreSQL's account may go."""
    clusters = place / "postgresql"
    if clusters.exists():
        return clusters.resolve()
    clusters.unlink(missing_ok=True)
    if reaches(place):
        clusters.mkdir(mode=0o711)
        return clusters
    elsewhere = Path(tempfile.mkdtemp(prefix="veneer-demo-bench-"))
    elsewhere.chmod(0o711)
    clusters.symlink_to(elsewhere)
    return elsewhere
