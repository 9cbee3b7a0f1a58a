"""psycopg 3: what Python programs do, Django's among them."""

import asyncio
import enum
import threading
from datetime import date
from uuid import UUID

import psycopg
from checks import PATIENCE, SHARDS, check, equal, ernest, eventually, fails, main, service
from psycopg import sql
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

ERNEST = "SELECT id FROM authors WHERE first_name = %s"


def connect(tenant=None, **kwargs):
    if tenant:
        kwargs.setdefault("options", f"-c search_path={tenant}")
    kwargs.setdefault("autocommit", True)
    return psycopg.connect("", **kwargs)


def admin(script):
    """DDL, through veneer, by the schemas' owner."""
    with psycopg.connect(**service("veneer-admin"), autocommit=True) as owner:
        owner.execute(script)


@check
def four_tenants_by_name_and_by_path():
    with connect() as conn:
        for tenant in SHARDS:
            row = conn.execute(
                sql.SQL("SELECT id FROM {} WHERE first_name = %s").format(sql.Identifier(tenant, "authors")),
                ["Ernest"],
            ).fetchone()
            equal(row, (ernest(tenant),), tenant)
        for tenant in SHARDS:
            conn.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(tenant)))
            equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest(tenant),), tenant)
        for tenant in SHARDS:
            conn.execute("SELECT set_config('search_path', %s, false)", [f"{tenant},public"])
            equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest(tenant),), tenant)


@check
def startup_options():
    for options in ("-c search_path=initech,public", "--search_path=initech", "-csearch_path=initech"):
        with connect(options=options) as conn:
            equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("initech"),), options)
    with connect("cyberdyne", application_name="checks") as conn:
        equal(conn.execute("SHOW application_name").fetchone(), ("checks",))
        equal(conn.info.parameter_status("server_encoding"), "UTF8")
        assert conn.info.server_version >= 150000, conn.info.server_version
        conn.execute("SET search_path = initech")
        conn.execute("RESET search_path")
        equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("cyberdyne"),))


@check
def refusals():
    with connect() as conn:
        with fails("0A000"):
            conn.execute("SELECT * FROM cyberdyne.authors, initech.authors")
        with fails("3F000"):
            conn.execute("SELECT * FROM cyberdine.authors")
        try:
            conn.execute("SELECT * FROM cyberdine.authors")
        except psycopg.Error as error:
            assert "cyberdyne" in error.diag.message_hint, error.diag.message_hint
        equal(conn.execute("SELECT 1").fetchone(), (1,))


@check
def client_side_binding_cursors():
    with psycopg.connect(
        options="-c search_path=initech", cursor_factory=psycopg.ClientCursor, autocommit=True
    ) as conn:
        equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("initech"),))
        rows = conn.execute(
            "SELECT %s; SELECT title FROM books WHERE publish_date < %s ORDER BY 1; SELECT %s",
            [1, date(1950, 1, 1), "O'Brien \\ \" %"],
        )
        equal(rows.fetchall(), [(1,)])
        assert rows.nextset()
        equal(rows.fetchall(), [("Nineteen Eighty-Four",), ("The Hobbit",)])
        assert rows.nextset()
        equal(rows.fetchall(), [("O'Brien \\ \" %",)])
        assert rows.nextset() is None


@check
def binary_results_and_parameters():
    with connect("initech") as conn:
        for binary in (False, True):
            cursor = conn.cursor(binary=binary)
            row = cursor.execute(
                "SELECT %s::int4, %t, %b::int8, %s::uuid, ARRAY[1,2,3], now() IS NOT NULL, id, %s::date"
                " FROM authors WHERE id = %s",
                [1, "text", 2, ernest("cyberdyne"), date(2020, 2, 29), ernest("initech")],
            ).fetchone()
            equal(
                row,
                (1, "text", 2, ernest("cyberdyne"), [1, 2, 3], True, ernest("initech"), date(2020, 2, 29)),
            )


@check
def prepared_at_once_and_across_tenants():
    with connect(prepare_threshold=0) as conn:
        for _ in range(3):
            for tenant in SHARDS:
                conn.execute(f"SET search_path = {tenant}")
                row = conn.execute("SELECT *, %s FROM authors WHERE first_name = 'Ernest'", [tenant]).fetchone()
                equal((row[0], row[-1]), (ernest(tenant), tenant))


@check
def prepared_after_a_while_with_evictions():
    with connect("bluth_co") as conn:
        # The default threshold is 5; at most 3 are kept, so the driver deallocates all the time.
        conn.prepared_max = 3
        for turn in range(8):
            for number in range(8):
                row = conn.execute(f"SELECT {number}, %s::int4 FROM authors LIMIT 1", [turn]).fetchone()
                equal(row, (number, turn))
        conn.execute("DEALLOCATE ALL")
        equal(conn.execute("SELECT 1, %s::int4 FROM authors LIMIT 1", [7], prepare=True).fetchone(), (1, 7))
        conn.execute("DISCARD ALL")
        # The path is the client's start value again, and so is everything else.
        equal(conn.execute(ERNEST, ["Ernest"], prepare=False).fetchone(), (ernest("bluth_co"),))


@check
def deallocating_in_a_transaction():
    query = "SELECT %s::int4, id FROM authors WHERE first_name = 'Ernest'"
    with connect("initech", autocommit=False, prepare_threshold=0) as conn:
        for number in range(3):
            equal(conn.execute(query, [number]).fetchone(), (number, ernest("initech")))
            (name,) = conn._prepared._names.values()
            conn.execute(b"DEALLOCATE " + name, prepare=False)
            conn._prepared._names.clear()
            equal(conn.execute("SELECT 1").fetchone(), (1,))
            conn._prepared._names.clear()
            conn.execute("DEALLOCATE ALL", prepare=False)
            with fails("26000"):
                conn.execute("DEALLOCATE nothing", prepare=False)
            conn.rollback()
    # Others' statements are none of one's business.
    with connect("initech", prepare_threshold=0) as conn, connect("initech") as other:
        equal(conn.execute(query, [1]).fetchone(), (1, ernest("initech")))
        for number in range(50):
            try:
                other.execute(f"DEALLOCATE _veneer_{number}", prepare=False)
            except psycopg.errors.InvalidSqlStatementName:
                pass
        other.execute("DEALLOCATE ALL", prepare=False)
        equal(conn.execute(query, [2]).fetchone(), (2, ernest("initech")))


@check
def prepared_by_name_through_sql():
    with connect("initech") as conn:
        conn.execute("PREPARE by_sql (text) AS SELECT id FROM authors WHERE first_name = $1")
        equal(conn.execute("EXECUTE by_sql ('Ernest')").fetchone(), (ernest("initech"),))
        with connect("initech") as other, fails("26000"):
            other.execute("EXECUTE by_sql ('Ernest')")
        conn.execute("DEALLOCATE by_sql")
        with fails("26000"):
            conn.execute("EXECUTE by_sql ('Ernest')")


@check
def pipeline():
    with connect("cyberdyne") as conn:
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int4 FROM authors LIMIT 1", [n]) for n in range(300)]
            equal([cursor.fetchone()[0] for cursor in cursors], list(range(300)))
        with conn.pipeline() as pipeline:
            for tenant in SHARDS:
                conn.execute(f"SET search_path = {tenant}")
                found = conn.execute(ERNEST, ["Ernest"])
                pipeline.sync()
                equal(found.fetchone(), (ernest(tenant),))


@check
def pipeline_over_shards_with_syncs():
    with connect() as conn, conn.pipeline() as pipeline:
        cursors = []
        for tenant in list(SHARDS) * 5:
            cursors.append((tenant, conn.execute(f"SELECT id FROM {tenant}.authors WHERE first_name = 'Ernest'")))
            pipeline.sync()
        for tenant, cursor in cursors:
            equal(cursor.fetchone(), (ernest(tenant),))


@check
def pipeline_with_an_error_inside():
    admin("CREATE TABLE cyberdyne.py_pipeline (n int PRIMARY KEY)")
    with connect("cyberdyne") as conn:
        with conn.pipeline() as pipeline:
            good = conn.execute("SELECT 1 FROM authors LIMIT 1")
            pipeline.sync()
            conn.execute("INSERT INTO py_pipeline VALUES (1) RETURNING n")
            # An error is sent at once, so it may come before the Sync.
            with fails("23505"):
                try:
                    conn.execute("INSERT INTO py_pipeline VALUES (2), (1)")
                    skipped = conn.execute("INSERT INTO py_pipeline VALUES (3)")
                finally:
                    pipeline.sync()
                skipped.fetchone()
            after = conn.execute("SELECT count(*) FROM py_pipeline")
            equal(good.fetchone(), (1,))
            # One implicit transaction up to the sync: nothing of it has stayed.
            equal(after.fetchone(), (0,))
        # Refused by veneer in the middle: what was before it in the same segment is undone.
        with fails("0A000"), conn.pipeline():
            conn.execute("INSERT INTO py_pipeline VALUES (5)")
            conn.execute("SELECT 1 FROM initech.authors")
            conn.execute("INSERT INTO py_pipeline VALUES (6)")
        equal(conn.execute("SELECT count(*) FROM py_pipeline").fetchone(), (0,))
        with conn.pipeline(), conn.transaction():
            conn.execute("INSERT INTO py_pipeline VALUES (7)")
        equal(conn.execute("SELECT array_agg(n) FROM py_pipeline").fetchone(), ([7],))


@check
def server_side_cursors():
    with connect("dunder_mifflin", autocommit=False) as conn:
        with conn.cursor("named") as cursor:
            cursor.itersize = 3
            cursor.execute("SELECT title FROM books ORDER BY title")
            titles = [title for (title,) in cursor]
            equal(len(titles), 8)
        with conn.cursor("scrolling", scrollable=True) as cursor:
            cursor.execute("SELECT n FROM generate_series(1, 100) n, authors WHERE first_name = 'Ernest'")
            equal(cursor.fetchmany(2), [(1,), (2,)])
            cursor.scroll(10)
            equal(cursor.fetchone(), (13,))
            cursor.scroll(0, mode="absolute")
            equal(cursor.fetchone(), (1,))
        with psycopg.ServerCursor(conn, "bound") as cursor:
            cursor.execute(ERNEST, ["Ernest"])
            equal(cursor.fetchall(), [(ernest("dunder_mifflin"),)])
        conn.commit()
        with conn.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT title FROM books ORDER BY title")
            conn.commit()
            equal([title for (title,) in cursor], titles)
            # Another tenant on another shard in between.
            conn.execute("SELECT 1 FROM initech.authors")
            conn.commit()
            cursor.scroll(0, mode="absolute")
            equal(len(cursor.fetchall()), 8)
        conn.commit()


@check
def copying():
    admin("CREATE TABLE initech.py_copy (n int, word text, day date)")
    with connect("initech") as conn:
        cursor = conn.cursor()
        with cursor.copy("COPY py_copy FROM STDIN") as copy:
            for n in range(5000):
                copy.write_row((n, f"wörd\t{n}\n" if n % 7 else None, date(2020, 1, 1)))
        equal(cursor.rowcount, 5000)
        with cursor.copy("COPY py_copy (n, word) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            for n in range(5000, 6000):
                copy.write_row((n, "binary"))
        with cursor.copy("COPY (SELECT n, word FROM py_copy ORDER BY n) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        equal((len(rows), rows[0], rows[1], rows[5999]), (6000, (0, None), (1, "wörd\t1\n"), (5999, "binary")))
        # Given up in the middle: the driver sends CopyFail.
        try:
            with cursor.copy("COPY py_copy FROM STDIN") as copy:
                copy.write_row((1, "x", None))
                raise KeyError("mine")
        except KeyError:
            pass
        with fails("22P02"), cursor.copy("COPY py_copy FROM STDIN") as copy:
            copy.write("no number\n")
        with fails("0A000"), cursor.copy("COPY (SELECT 1 FROM cyberdyne.authors, initech.authors) TO STDOUT") as copy:
            copy.read()
        equal(conn.execute("SELECT count(*) FROM py_copy").fetchone(), (6000,))


@check
def nested_transactions():
    admin("CREATE TABLE bluth_co.py_tx (n int PRIMARY KEY)")
    for kwargs in ({}, {"prepare_threshold": 0}):
        with connect("bluth_co", **kwargs) as conn:
            conn.execute("DELETE FROM py_tx")
            with conn.transaction():
                conn.execute("INSERT INTO py_tx VALUES (1)")
                try:
                    with conn.transaction():
                        conn.execute("INSERT INTO py_tx VALUES (2)")
                        with conn.transaction("inner"):
                            conn.execute("INSERT INTO py_tx VALUES (3)")
                        conn.execute("INSERT INTO py_tx VALUES (1)")
                except psycopg.errors.UniqueViolation:
                    pass
                with conn.transaction(force_rollback=True):
                    conn.execute("INSERT INTO py_tx VALUES (4)")
                with conn.transaction():
                    conn.execute("INSERT INTO py_tx VALUES (5)")
            equal(conn.execute("SELECT array_agg(n ORDER BY n) FROM py_tx").fetchone(), ([1, 5],))
            with fails("0A000"), conn.transaction():
                conn.execute("INSERT INTO py_tx VALUES (6)")
                conn.execute("INSERT INTO initech.authors (first_name, last_name) VALUES ('x', 'y')")
            equal(conn.execute("SELECT array_agg(n ORDER BY n) FROM py_tx").fetchone(), ([1, 5],))
            # The path belongs to the transaction: it goes back with it.
            try:
                with conn.transaction():
                    conn.execute("SET search_path = initech")
                    equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("initech"),))
                    raise KeyError("mine")
            except KeyError:
                pass
            equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("bluth_co"),))


@check
def a_snapshot_that_its_shard_refuses():
    with connect("initech") as conn:
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        with fails("22023"):
            conn.execute("SET TRANSACTION SNAPSHOT 'nonsense'")
        with fails("25P02"):
            conn.execute("SELECT count(*) FROM authors")
        conn.execute("ROLLBACK")
        equal(conn.execute("SELECT count(*) FROM authors").fetchone(), (7,))


@check
def implicit_transactions():
    with connect("cyberdyne", autocommit=False) as conn:
        # psycopg sends BEGIN before the first statement, whatever it is.
        conn.execute("SET search_path = initech")
        equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("initech"),))
        conn.rollback()
        equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("cyberdyne"),))
        conn.rollback()
        equal(conn.execute("SELECT 1").fetchone(), (1,))
        equal(conn.execute("SELECT id FROM initech.authors WHERE first_name = 'Ernest'").fetchone()[0], ernest("initech"))
        with fails("0A000"):
            conn.execute("SELECT * FROM cyberdyne.authors")
        equal(conn.info.transaction_status, psycopg.pq.TransactionStatus.INERROR)
        conn.rollback()
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        equal(conn.execute("SHOW transaction_isolation").fetchone(), ("serializable",))
        conn.rollback()
        conn.read_only = True
        with fails("25006"):
            conn.execute("DELETE FROM books")
        conn.rollback()


@check
def row_factories():
    class Author:
        def __init__(self, id, first_name, last_name):
            self.id, self.first_name, self.last_name = id, first_name, last_name

    query = "SELECT * FROM authors WHERE first_name = 'Ernest'"
    with connect("initech") as conn:
        wanted = {"id": ernest("initech"), "first_name": "Ernest", "last_name": "Hemingway"}
        equal(conn.cursor(row_factory=dict_row).execute(query).fetchone(), wanted)
        equal(conn.cursor(row_factory=namedtuple_row).execute(query).fetchone().last_name, "Hemingway")
        equal(conn.cursor(row_factory=class_row(Author)).execute(query).fetchone().id, ernest("initech"))
        equal(conn.cursor(row_factory=scalar_row).execute(query).fetchone(), ernest("initech"))
        described = conn.execute(query).description
        equal([column.name for column in described], list(wanted))


@check
def enums_and_composites():
    class Mood(enum.Enum):
        sad = "sad"
        ok = "ok"

    for tenant in ("bluth_co", "initech"):
        admin(
            f"CREATE TYPE {tenant}.py_mood AS ENUM ('sad', 'ok');"
            f"CREATE TYPE {tenant}.py_pair AS (n int, mood {tenant}.py_mood);"
            f"CREATE TABLE {tenant}.py_moods (mood {tenant}.py_mood, pair {tenant}.py_pair, moods {tenant}.py_mood[])"
        )
    for tenant in ("bluth_co", "initech"):
        with connect(tenant) as conn:
            mood = EnumInfo.fetch(conn, "py_mood")
            assert mood is not None, f"py_mood is not found by the path of {tenant}"
            register_enum(mood, conn, Mood)
            register_composite(CompositeInfo.fetch(conn, "py_pair"), conn)
            for binary in (False, True):
                cursor = conn.cursor(binary=binary)
                cursor.execute(
                    "INSERT INTO py_moods VALUES (%s, ROW(%s, %s), %s) RETURNING mood, pair, moods",
                    [Mood.ok, 3, Mood.sad, [Mood.ok, Mood.sad]],
                )
                mood, pair, moods = cursor.fetchone()
                equal((mood, pair.n, pair.mood, moods), (Mood.ok, 3, Mood.sad, [Mood.ok, Mood.sad]))


@check
def notifications():
    with connect("initech") as listening, connect("initech") as speaking:
        listening.execute("LISTEN py_news")
        for n in range(3):
            speaking.execute("SELECT pg_notify('py_news', %s)", [str(n)])
        heard = []
        for notification in listening.notifies(timeout=PATIENCE, stop_after=3):
            heard.append((notification.channel, notification.payload))
        equal(heard, [("py_news", str(n)) for n in range(3)])
        told = []
        listening.add_notice_handler(lambda diagnostic: told.append(diagnostic.message_primary))
        listening.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        equal(told, ["hello"])


@check
def cancelling():
    for how in ("cancel", "cancel_safe"):
        with connect("initech") as conn, psycopg.connect(**service("shard3"), autocommit=True) as shard:
            marker = f"py {how}"
            outcome = []

            def sleep():
                try:
                    conn.execute(f"SELECT pg_sleep(600) /* {marker} */ FROM authors")
                except psycopg.errors.QueryCanceled as error:
                    outcome.append(error.sqlstate)

            thread = threading.Thread(target=sleep)
            thread.start()
            # Others read the table, too, and a cancel that comes too early stops nothing.
            eventually(f"{marker} runs", lambda: is_running(shard))

            def is_stopped():
                getattr(conn, how)()
                thread.join(0.2)
                return not thread.is_alive()

            eventually(f"{marker} is cancelled", is_stopped)
            equal(outcome, ["57014"], how)
            equal(conn.execute("SELECT 1").fetchone(), (1,))


def is_running(shard):
    # The owner of the schemas does not see the application's texts, but that it waits.
    row = shard.execute(
        "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " WHERE c.oid = 'initech.authors'::regclass AND l.pid <> pg_backend_pid()"
    ).fetchone()
    return 0 < row[0]


@check
async def asynchronously():
    async def work(tenant):
        async with await psycopg.AsyncConnection.connect(
            options=f"-c search_path={tenant}", autocommit=True
        ) as conn:
            for _ in range(20):
                cursor = await conn.execute(ERNEST, ["Ernest"])
                equal(await cursor.fetchone(), (ernest(tenant),))
            async with conn.transaction(), conn.cursor("named") as cursor:
                await cursor.execute("SELECT id FROM books")
                equal(len([row async for row in cursor]), 8)
            async with conn.pipeline():
                cursors = [await conn.execute("SELECT %s::int4", [n]) for n in range(50)]
                equal([(await cursor.fetchone())[0] for cursor in cursors], list(range(50)))

    await asyncio.gather(*(work(tenant) for tenant in list(SHARDS) * 5))


@check
async def an_abandoned_task_cancels_its_query():
    async with await psycopg.AsyncConnection.connect(
        options="-c search_path=initech", autocommit=True
    ) as conn:
        try:
            await asyncio.wait_for(conn.execute("SELECT pg_sleep(600) FROM authors"), timeout=0.5)
        except (asyncio.TimeoutError, psycopg.errors.QueryCanceled):
            pass
        else:
            raise AssertionError("it was to be abandoned")
        cursor = await conn.execute(ERNEST, ["Ernest"])
        equal(await cursor.fetchone(), (ernest("initech"),))


@check
def errors_keep_their_fields():
    with connect("initech") as conn:
        try:
            conn.execute("INSERT INTO books (title, author_id, publish_date) VALUES ('x', %s, now())", [UUID(int=0)])
            raise AssertionError("there is no such author")
        except psycopg.errors.ForeignKeyViolation as error:
            diag = error.diag
            equal(
                (diag.schema_name, diag.table_name, diag.constraint_name),
                ("initech", "books", "books_author_id_fkey"),
            )
            assert diag.message_detail and diag.source_function, diag
        try:
            conn.execute("SELECT nothing FROM authors")
            raise AssertionError("there is no such column")
        except psycopg.errors.UndefinedColumn as error:
            equal(error.diag.statement_position, "8")


@check
def protocol_3_2():
    """Asked for by libpq 18; a cancel then carries a key of 32 bytes."""
    for versions, spoken in (
        ({}, 30000),
        ({"max_protocol_version": "3.0"}, 30000),
        ({"min_protocol_version": "3.2", "max_protocol_version": "3.2"}, 30002),
        ({"max_protocol_version": "latest"}, 30002),
    ):
        with connect("initech", **versions) as conn, connect() as watcher:
            equal(conn.pgconn.full_protocol_version, spoken, versions)
            for cancel in (conn.cancel_safe, conn.cancel):
                sleep = f"SELECT pg_sleep(600), 1 FROM authors /* {spoken} {cancel.__name__} */"
                outcome = []

                def run():
                    try:
                        conn.execute(sleep)
                    except psycopg.errors.QueryCanceled:
                        outcome.append("cancelled")

                thread = threading.Thread(target=run)
                thread.start()
                asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND wait_event = 'PgSleep'"
                watcher.execute("SET search_path = initech")
                eventually("it sleeps", lambda: watcher.execute(asleep, [sleep]).fetchone() == (1,))
                cancel()
                thread.join(PATIENCE)
                equal(outcome, ["cancelled"], (versions, cancel.__name__))
            equal(conn.execute(ERNEST, ["Ernest"]).fetchone(), (ernest("initech"),))


if __name__ == "__main__":
    main()
