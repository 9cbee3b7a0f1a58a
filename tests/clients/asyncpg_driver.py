"""asyncpg: binary, always prepared, and it asks the catalogue about every type it does not know."""

import asyncio
import os
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
from checks import SHARDS, check, equal, ernest, fails, main, service

ERNEST = "SELECT id FROM authors WHERE first_name = $1"


def target():
    keys = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "database": "PGDATABASE"}
    return {key: os.environ[name] for key, name in keys.items()}


class connected:
    """A connection that has a tenant, in a `async with`."""

    def __init__(self, tenant=None, **kwargs):
        if tenant:
            kwargs["server_settings"] = {"search_path": tenant}
        self.kwargs = kwargs

    async def __aenter__(self):
        self.conn = await asyncpg.connect(**target(), **self.kwargs)
        return self.conn

    async def __aexit__(self, *_):
        await self.conn.close()


async def admin(script):
    owner = service("veneer-admin")
    owner["database"] = owner.pop("dbname")
    conn = await asyncpg.connect(**owner)
    try:
        await conn.execute(script)
    finally:
        await conn.close()


@check
async def four_tenants_by_name_and_by_path():
    async with connected() as conn:
        for tenant in SHARDS:
            query = f"SELECT id FROM {tenant}.authors WHERE first_name = $1"
            equal(await conn.fetchval(query, "Ernest"), ernest(tenant), tenant)
        for tenant in SHARDS:
            await conn.execute(f'SET search_path = "{tenant}"')
            equal(await conn.fetchval(ERNEST, "Ernest"), ernest(tenant), tenant)
        for tenant in SHARDS:
            await conn.fetchval("SELECT set_config('search_path', $1, false)", tenant)
            equal(await conn.fetchval(ERNEST, "Ernest"), ernest(tenant), tenant)
    for tenant in SHARDS:
        async with connected(tenant) as conn:
            equal(await conn.fetchval("SHOW search_path"), tenant)
            equal(await conn.fetchval(ERNEST, "Ernest"), ernest(tenant), tenant)


@check
async def server_settings():
    settings = {"search_path": "initech,public", "application_name": "checks", "work_mem": "7777kB", "jit": "off"}
    async with connected(server_settings=settings) as conn:
        for setting in ("application_name", "work_mem", "jit"):
            equal(await conn.fetchval(f"SHOW {setting}"), settings[setting])
        await conn.execute("SET work_mem = '1MB'")
        await conn.execute("SET search_path = cyberdyne")
        await conn.reset()
        # RESET ALL gives the client's start values back, not the backend's.
        equal(await conn.fetchval("SHOW work_mem"), "7777kB")
        equal(await conn.fetchval(ERNEST, "Ernest"), ernest("initech"))
        equal(conn.get_settings().server_encoding, "UTF8")
        assert conn.get_server_version().major >= 15, conn.get_server_version()


@check
async def prepared_statements_and_the_cache_across_tenants():
    async with connected("bluth_co") as conn:
        statement = await conn.prepare(ERNEST)
        equal([column.name for column in statement.get_attributes()], ["id"])
        equal([kind.name for kind in statement.get_parameters()], ["text"])
        for _ in range(3):
            for tenant in SHARDS:
                await conn.execute(f"SET search_path = {tenant}")
                equal(await statement.fetchval("Ernest"), ernest(tenant), tenant)
                equal(await conn.fetchval("SELECT id FROM authors WHERE first_name = 'Ernest'"), ernest(tenant))
    async with connected("cyberdyne", statement_cache_size=3) as conn:
        for number in range(20):
            equal(await conn.fetchval(f"SELECT $1::int4 + {number % 7} FROM authors LIMIT 1", 1), 1 + number % 7)
    async with connected("cyberdyne", statement_cache_size=0) as conn:
        for number in range(20):
            equal(await conn.fetchval("SELECT $1::int4 FROM authors LIMIT 1", number), number)
        await conn.executemany("SELECT $1::int4, title FROM books", [(n,) for n in range(100)])


@check
async def a_table_that_looks_different_in_another_schema():
    await admin(
        "CREATE TABLE cyberdyne.apg_shape (a int); INSERT INTO cyberdyne.apg_shape VALUES (1);"
        "CREATE TABLE dunder_mifflin.apg_shape (a text, b text); INSERT INTO dunder_mifflin.apg_shape VALUES ('x', 'y')"
    )
    async with connected("cyberdyne") as one, connected("dunder_mifflin") as other:
        for _ in range(5):
            equal(dict(await one.fetchrow("SELECT * FROM apg_shape")), {"a": 1})
            equal(dict(await other.fetchrow("SELECT * FROM apg_shape")), {"a": "x", "b": "y"})


@check
async def transactions():
    await admin("CREATE TABLE initech.apg_tx (n int PRIMARY KEY)")
    async with connected("initech") as conn:
        async with conn.transaction():
            await conn.execute("INSERT INTO apg_tx VALUES (1)")
            with fails("23505"):
                async with conn.transaction():
                    await conn.execute("INSERT INTO apg_tx VALUES ($1)", 2)
                    await conn.execute("INSERT INTO apg_tx VALUES ($1)", 1)
            await conn.execute("INSERT INTO apg_tx VALUES (3)")
        equal([row["n"] for row in await conn.fetch("SELECT n FROM apg_tx ORDER BY n")], [1, 3])
        with fails("0A000"):
            async with conn.transaction():
                await conn.execute("DELETE FROM apg_tx")
                await conn.fetch("SELECT * FROM bluth_co.books")
        with fails("25006"):
            async with conn.transaction(isolation="serializable", readonly=True):
                await conn.execute("DELETE FROM apg_tx")
        async with conn.transaction(isolation="repeatable_read"):
            equal(await conn.fetchval("SHOW transaction_isolation"), "repeatable read")
        equal(await conn.fetchval("SELECT count(*) FROM apg_tx"), 2)


@check
async def cursors():
    async with connected("dunder_mifflin") as conn, conn.transaction():
        titles = [row["title"] async for row in conn.cursor("SELECT title FROM books ORDER BY title", prefetch=3)]
        equal((len(titles), titles), (8, sorted(titles)))
        cursor = await conn.cursor("SELECT n FROM generate_series(1, $1) n, authors WHERE first_name = 'Ernest'", 50)
        equal([row["n"] for row in await cursor.fetch(3)], [1, 2, 3])
        equal(await cursor.forward(10), 10)
        equal((await cursor.fetchrow())["n"], 14)
        equal(len(await cursor.fetch(100)), 36)
        equal(await cursor.fetch(1), [])


@check
async def copying():
    await admin("CREATE TABLE initech.apg_copy (n int, word text, day date)")
    async with connected("initech") as conn:
        rows = [(n, f"wörd {n}" if n % 5 else None, date(2024, 2, 29)) for n in range(3000)]
        equal(await conn.copy_records_to_table("apg_copy", records=rows), "COPY 3000")
        equal(await conn.copy_records_to_table("apg_copy", schema_name="initech", records=rows, columns=["n", "word", "day"]), "COPY 3000")
        copied = bytearray()

        async def sink(data):
            copied.extend(data)

        equal(await conn.copy_from_query("SELECT n, word FROM apg_copy WHERE n < $1 ORDER BY n", 2, output=sink), "COPY 4")
        equal(bytes(copied).decode(), "0\t\\N\n0\t\\N\n1\twörd 1\n1\twörd 1\n")
        await conn.copy_from_table("apg_copy", output=sink, format="csv")
        with fails("22P02"):
            await conn.copy_to_table("apg_copy", source=source([b"no\tnumber\t\\N\n"]))
        equal(await conn.fetchval("SELECT count(*) FROM apg_copy"), 6000)
    async with connected() as conn:
        equal(await conn.copy_from_table("authors", schema_name="cyberdyne", output=sink), "COPY 7")


async def source(pieces):
    for piece in pieces:
        yield piece


@check
async def types():
    values = [
        1, 2**62, Decimal("1.50"), 0.25, True, "wörd", b"\x00\xff", UUID(int=7), date(2024, 2, 29),
        timedelta(days=1, hours=2), [1, None, 3], '{"a": 1}', None,
    ]
    kinds = [
        "int4", "int8", "numeric", "float8", "bool", "text", "bytea", "uuid", "date",
        "interval", "int4[]", "jsonb", "text",
    ]
    columns = ", ".join(f"${n + 1}::{kind}" for n, kind in enumerate(kinds))
    async with connected("initech") as conn:
        row = await conn.fetchrow(f"SELECT {columns} FROM authors LIMIT 1", *values)
        equal(list(row.values()), values)


@check
async def types_of_a_tenant():
    for tenant in ("bluth_co", "initech"):
        # The same names, other numbers: the shards have given out different ones by then.
        await admin(
            f"CREATE TYPE {tenant}.apg_filler_{tenant} AS ENUM ('x');" * (tenant == "initech")
            + f"CREATE TYPE {tenant}.apg_mood AS ENUM ('sad', 'ok');"
            f"CREATE TYPE {tenant}.apg_pair AS (n int, mood {tenant}.apg_mood);"
            f"CREATE DOMAIN {tenant}.apg_small AS int CHECK (VALUE < 10);"
            f"CREATE TABLE {tenant}.apg_moods (mood {tenant}.apg_mood, pair {tenant}.apg_pair,"
            f" moods {tenant}.apg_mood[], small {tenant}.apg_small)"
        )
    for tenant in ("bluth_co", "initech"):
        async with connected(tenant) as conn:
            row = await conn.fetchrow(
                "INSERT INTO apg_moods VALUES ($1, $2, $3, $4) RETURNING *", "ok", (3, "sad"), ["ok", "sad"], 4
            )
            equal((row["mood"], tuple(row["pair"]), row["moods"], row["small"]), ("ok", (3, "sad"), ["ok", "sad"], 4))
            with fails("22P02"):
                await conn.execute("INSERT INTO apg_moods (mood) VALUES ('none')")
            await conn.set_type_codec("apg_mood", schema=tenant, encoder=str.lower, decoder=str.upper)
            equal(await conn.fetchval("SELECT mood FROM apg_moods"), "OK")
            await conn.reload_schema_state()
            equal(await conn.fetchval("SELECT mood FROM apg_moods"), "OK")


@check
async def a_pool_of_ten():
    await admin("CREATE TABLE cyberdyne.apg_pool (n int)")
    pool = await asyncpg.create_pool(
        **target(), min_size=10, max_size=10, server_settings={"search_path": "cyberdyne"}
    )
    async with pool:

        async def work(number):
            async with pool.acquire() as conn:
                equal(await conn.fetchval(ERNEST, "Ernest"), ernest("cyberdyne"))
                tenant = list(SHARDS)[number % 4]
                # What is left here is taken back when the connection is released.
                await conn.execute(f"SET search_path = {tenant}")
                await conn.execute("SET statement_timeout = '1h'")
                equal(await conn.fetchval(ERNEST, "Ernest"), ernest(tenant))
                async with conn.transaction():
                    await conn.execute("INSERT INTO cyberdyne.apg_pool VALUES ($1)", number)

        await asyncio.gather(*(work(number) for number in range(100)))
        equal(await pool.fetchval("SELECT count(DISTINCT n) FROM apg_pool"), 100)
        equal(await pool.fetchval("SHOW statement_timeout"), "0")


@check
async def notifications():
    async with connected("initech") as listening, connected("initech") as speaking:
        heard = asyncio.Queue()
        await listening.add_listener("apg_news", lambda *heard_now: heard.put_nowait(heard_now[2:]))
        await speaking.execute("SELECT pg_notify('apg_news', $1)", "hello")
        equal(await asyncio.wait_for(heard.get(), 30), ("apg_news", "hello"))
        await listening.reset()
        equal(await listening.fetchval(ERNEST, "Ernest"), ernest("initech"))


@check
async def a_timeout_cancels():
    async with connected("initech") as conn:
        for _ in range(3):
            try:
                await conn.fetch("SELECT pg_sleep(600) FROM authors", timeout=0.2)
            except asyncio.TimeoutError:
                pass
            else:
                raise AssertionError("it was to take too long")
            equal(await conn.fetchval(ERNEST, "Ernest"), ernest("initech"))


@check
async def refusals():
    async with connected() as conn:
        for _ in range(3):
            with fails("0A000", says="cyberdyne"):
                try:
                    await conn.fetch("SELECT * FROM cyberdyne.authors, initech.authors")
                except asyncpg.PostgresError as error:
                    raise type(error)(error.detail) from None
            with fails("3F000"):
                await conn.fetch("SELECT * FROM cyberdine.authors")
            with fails("42601"):
                await conn.fetch("SELEC 1")
            equal(await conn.fetchval("SELECT 1"), 1)


if __name__ == "__main__":
    main()
