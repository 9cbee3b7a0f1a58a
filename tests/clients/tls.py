"""psql and psycopg over TLS: the libpq of the system and the one that psycopg brings along."""

import os
import subprocess
import threading

import psycopg
from checks import PATIENCE, check, equal, ernest, eventually, main

# `require`, or `allow`: plain text is taken, too.
MODE = os.environ.get("TLS_MODE", "require")
HOW = "SELECT current_setting('search_path')"
# Rows of 1,000 bytes and a newline.
ROWS = 100_000
# Two of these may run at once, on the same shard.
SLEEP = f"SELECT pg_sleep(600) /* cancel over TLS, {os.getpid()} */"


def psql(conninfo, *arguments, **kwargs):
    command = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", conninfo, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)
    return done.returncode, done.stdout, done.stderr


def refused(conninfo, words):
    for run in (psql_error, psycopg_error):
        error = run(conninfo)
        assert words in error, f"{conninfo}: wanted {words!r} in {error}"


def psql_error(conninfo):
    status, said, errors = psql(conninfo, "-c", "SELECT 1")
    assert status == 2, (status, said, errors)
    return errors


def psycopg_error(conninfo):
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError as error:
        return str(error)
    raise AssertionError(f"{conninfo}: it was let in")


@check
def psql_is_encrypted():
    for conninfo in (
        "sslmode=require",
        "sslmode=verify-ca",
        "sslmode=verify-full",
        "host=localhost sslmode=verify-full",
        "sslmode=prefer",
        "sslmode=require channel_binding=require",
        "sslmode=require channel_binding=disable",
        "sslmode=require ssl_min_protocol_version=TLSv1.3",
        "sslmode=require ssl_max_protocol_version=TLSv1.2",
        "sslmode=verify-full channel_binding=require ssl_max_protocol_version=TLSv1.2",
    ):
        status, said, errors = psql(conninfo, "-c", r"\conninfo", "-c", "SELECT count(*) FROM initech.authors")
        assert status == 0 and not errors, (conninfo, said, errors)
        assert "SSL connection (protocol: TLSv1." in said, (conninfo, said)
        equal(said.splitlines()[-1], "7", conninfo)


@check
def psycopg_is_encrypted():
    for conninfo in (
        "sslmode=require",
        "sslmode=verify-full",
        "sslmode=verify-full channel_binding=require",
        "sslmode=require sslnegotiation=direct",
        "sslmode=verify-full sslnegotiation=direct channel_binding=require",
        "host=localhost sslmode=verify-full sslnegotiation=direct",
    ):
        with psycopg.connect(conninfo, options="-c search_path=initech") as conn:
            assert conn.pgconn.ssl_in_use, conninfo
            row = conn.execute("SELECT id FROM authors WHERE first_name = %s", ["Ernest"]).fetchone()
            equal(row, (ernest("initech"),), conninfo)


@check
def plain_text():
    user = os.environ["PGUSER"]
    if MODE == "require":
        words = f'FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "{user}", database "bookstore", no encryption'
        refused("sslmode=disable", words)
    for conninfo in ("sslmode=disable", "sslmode=allow"):
        if MODE == "allow" or conninfo == "sslmode=allow":
            status, said, errors = psql(conninfo, "-c", "SELECT 1")
            equal((status, said), (0, "1\n"), errors)
            with psycopg.connect(conninfo) as conn:
                equal(conn.pgconn.ssl_in_use, MODE == "require", conninfo)


@check
def what_cannot_be_trusted():
    refused("sslmode=verify-full host=127.0.0.2 hostaddr=127.0.0.1", "does not match host name")
    refused("sslmode=require sslrootcert=/dev/null", "root certificate")
    refused("sslmode=require password=wrong", 'password authentication failed for user "')
    refused("sslmode=require channel_binding=require password=wrong", "password authentication failed")
    refused("sslmode=require dbname=nowhere", 'database "nowhere" does not exist')


@check
def an_error_ends_with_a_goodbye():
    """Without one libpq would complain of the cut."""
    for run in (psql_error, psycopg_error):
        assert "unexpected" not in run("sslmode=require dbname=nowhere"), run.__name__


@check
def a_hundred_megabytes_out():
    copy = f"COPY (SELECT repeat('x', 1000) FROM generate_series(1, {ROWS})) TO STDOUT"
    with psycopg.connect("sslmode=require", autocommit=True) as conn:
        with conn.cursor() as cursor, cursor.copy(copy) as data:
            equal(sum(len(block) for block in data), 1001 * ROWS)
        equal(conn.execute("SELECT 1").fetchone(), (1,))


@check
def a_hundred_megabytes_in():
    block = b"x" * 1000 + b"\n"
    with psycopg.connect("sslmode=require", options="-c search_path=initech", autocommit=True) as conn:
        conn.execute("CREATE TEMP TABLE poured (line text)")
        with conn.cursor() as cursor, cursor.copy("COPY poured FROM STDIN") as data:
            for _ in range(ROWS // 100):
                data.write(block * 100)
        row = conn.execute("SELECT count(*), sum(length(line)), count(DISTINCT line) FROM poured").fetchone()
        equal(row, (ROWS, 1000 * ROWS, 1))


@check
def both_ways_at_once():
    """Neither side waits for the other: the pipeline is longer than all buffers together."""
    with psycopg.connect("sslmode=require", autocommit=True) as conn:
        with conn.pipeline():
            cursors = [conn.execute("SELECT repeat(%s, 100), %s::int", ["y" * 1000, n]) for n in range(2000)]
        for n, cursor in enumerate(cursors):
            equal(cursor.fetchone(), ("y" * 100_000, n))


@check
def a_cancel():
    """libpq 17 and newer encrypts it, too; the older way is plain text."""
    for cancel in (psycopg.Connection.cancel_safe, psycopg.Connection.cancel):
        with psycopg.connect("sslmode=require", autocommit=True) as conn, psycopg.connect(
            "sslmode=require", autocommit=True
        ) as watcher:
            outcome = []
            thread = threading.Thread(target=lambda: outcome.append(failure(conn)))
            thread.start()
            asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND wait_event = 'PgSleep'"
            eventually("it sleeps", lambda: watcher.execute(asleep, [SLEEP]).fetchone() == (1,))
            cancel(conn)
            thread.join(PATIENCE)
            equal(outcome, ["57014"], cancel.__name__)
            equal(conn.execute("SELECT 1").fetchone(), (1,))


def failure(conn):
    try:
        conn.execute(SLEEP)
    except psycopg.Error as error:
        return error.sqlstate


if __name__ == "__main__":
    main()
