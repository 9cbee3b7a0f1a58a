"""The catalogue as drivers and people ask it: by name, by OID, and with the Tab key."""

import os
import pty
import re
import select
import shutil
import time

import asyncpg
import psycopg
from checks import PATIENCE, SHARDS, check, equal, fails, main
from psycopg.types.composite import CompositeInfo
from psycopg.types.enum import EnumInfo

if not shutil.which("psql"):
    raise SystemExit("psql is missing; run: tests/setup.sh tests")

# How frameworks ask whether a tenant is there; `%s` is the tenant.
EXISTENCE = [
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {})",
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE LOWER(nspname) = LOWER({}))",
    "SELECT 1 = (SELECT COUNT(*) FROM pg_namespace WHERE nspname = {})",
    "SELECT to_regnamespace({}) IS NOT NULL",
    "SELECT 1 = (SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = {})",
    "SELECT 1 = (SELECT COUNT(1) FROM information_schema.tables WHERE table_schema = {} AND table_name = 'books')",
    "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = ANY (ARRAY[{}]) AND tablename = 'books')",
]


def asked(sql, tenant, placeholder="%s::text"):
    """The statement with its value apart, and with its value inside."""
    yield sql.format(placeholder), [tenant]
    yield sql.format(f"'{tenant}'"), []


def admin(*statements):
    with psycopg.connect("service=veneer-admin", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@check
def psycopg_finds_every_tenant():
    with psycopg.connect("") as connection:
        connection.autocommit = True
        for tenant in [*SHARDS, "nobody", *SHARDS]:
            for sql in EXISTENCE:
                for statement, values in asked(sql, tenant):
                    for binary in (False, True):
                        found = connection.execute(statement, values, binary=binary, prepare=binary).fetchone()
                        equal(found, (tenant in SHARDS,), f"{tenant}: {statement}")
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY (%b)", [list(SHARDS)])
        equal(sorted(row[0] for row in rows), sorted(SHARDS))
    # In one transaction, for all tenants, until something binds it.
    with psycopg.connect("") as connection:
        for tenant in SHARDS:
            for sql in EXISTENCE:
                for statement, values in asked(sql, tenant):
                    equal(connection.execute(statement, values).fetchone(), (True,), f"{tenant}: {statement}")
        connection.execute("SELECT count(*) FROM initech.books")
        # Home knows of placeholders; other shards do not.
        with fails("0A000", says="cyberdyne"):
            connection.execute("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'cyberdyne')")


@check
async def asyncpg_finds_every_tenant():
    connection = await asyncpg.connect()
    for tenant in [*SHARDS, "nobody", *SHARDS]:
        for sql in EXISTENCE:
            for statement, values in asked(sql, tenant, "$1::text"):
                equal(await connection.fetchval(statement, *values), tenant in SHARDS, f"{tenant}: {statement}")
    async with connection.transaction():
        for tenant in SHARDS:
            for sql in EXISTENCE:
                for statement, values in asked(sql, tenant, "$1::text"):
                    equal(await connection.fetchval(statement, *values), True, f"{tenant}: {statement}")
    rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname = ANY ($1)", list(SHARDS))
    equal(sorted(row[0] for row in rows), sorted(SHARDS))
    await connection.close()


@check
async def types_of_tenants_are_found_by_their_numbers():
    for tenant in SHARDS:
        admin(
            f"DROP TABLE IF EXISTS {tenant}.typed",
            f"DROP TYPE IF EXISTS {tenant}.pair, {tenant}.colour",
            f"CREATE TYPE {tenant}.colour AS ENUM ('red', '{tenant}')",
            f"CREATE TYPE {tenant}.pair AS (one int, two {tenant}.colour)",
            f"CREATE TABLE {tenant}.typed (id int, pair {tenant}.pair, colours {tenant}.colour[])",
            f"INSERT INTO {tenant}.typed VALUES (1, (7, '{tenant}'), '{{red,{tenant}}}')",
            f"GRANT SELECT ON {tenant}.typed TO PUBLIC",
        )
    connection = await asyncpg.connect()
    for tenant in [*SHARDS, *reversed(SHARDS)]:
        await connection.reload_schema_state()
        row = await connection.fetchrow(f"SELECT pair, colours FROM {tenant}.typed WHERE id = $1", 1)
        equal((tuple(row["pair"]), row["colours"]), ((7, tenant), ["red", tenant]))
        await connection.reload_schema_state()
        async with connection.transaction():
            await connection.execute(f"SET LOCAL search_path = {tenant}")
            row = await connection.fetchrow("SELECT pair FROM typed")
            equal(tuple(row["pair"]), (7, tenant))
    await connection.close()
    with psycopg.connect("") as connection:
        for tenant in SHARDS:
            pair = CompositeInfo.fetch(connection, f"{tenant}.pair")
            equal(pair.field_names, ("one", "two"), tenant)
            colour = EnumInfo.fetch(connection, f"{tenant}.colour")
            equal(list(colour.labels), ["red", tenant])
            equal(pair.field_types[1], colour.oid)
            connection.rollback()
    for tenant in SHARDS:
        admin(f"DROP TABLE {tenant}.typed", f"DROP TYPE {tenant}.pair, {tenant}.colour")


class Terminal:
    """A psql that believes to be typed at."""

    def __init__(self, **env):
        environment = {
            **os.environ,
            "PSQLRC": "/dev/null",
            "PSQL_HISTORY": "/dev/null",
            "INPUTRC": "/dev/null",
            "PAGER": "cat",
            "TERM": "dumb",
            **env,
        }
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe("psql", ["psql", "-X"], environment)
        self.seen = ""
        self.until("=> ")

    def until(self, wanted):
        """Reads until something is printed; gives all that came before and with it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(wanted, self.seen)):
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.seen!r}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                # The bell rings where there is more than one way on.
                self.seen += os.read(self.terminal, 65536).decode().replace("\a", "")
        before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def type(self, text, wanted):
        os.write(self.terminal, text.encode())
        return self.until(wanted)

    def close(self):
        os.write(self.terminal, b"\x15\\q\n")
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@check
def the_tab_key_offers_tenants_and_their_tables():
    terminal = Terminal()
    for tenant in SHARDS:
        # As little as tells it from the others; then as little as tells `books` from `authors`.
        terminal.type(f"SELECT count(*) FROM {tenant[:3]}\t", re.escape(f"{tenant}."))
        terminal.type("boo\t", "books ?")
        answer = terminal.type(";\n", "=> ")
        assert re.search(r"^ +8\r$", answer, re.MULTILINE), answer
        terminal.type(f"TABLE {tenant}.\t\t", "(?s)authors.*books|books.*authors")
        # Gives the line up.
        terminal.type("\x15\n", "=> ")
    terminal.type("\\dt cyb\t", re.escape("cyberdyne."))
    terminal.type("*\n", "cyberdyne .*books")
    terminal.until("=> ")
    terminal.type("\\d initech.aut\t", "initech.authors ?")
    terminal.type("\n", "first_name")
    terminal.until("=> ")
    terminal.close()


@check
def the_tab_key_follows_the_path():
    terminal = Terminal(PGOPTIONS="-c search_path=initech")
    terminal.type("SELECT count(*) FROM boo\t", "books ?")
    answer = terminal.type(";\n", "=> ")
    assert re.search(r"^ +8\r$", answer, re.MULTILINE), answer
    terminal.close()


if __name__ == "__main__":
    main()
