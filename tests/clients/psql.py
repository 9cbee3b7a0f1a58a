"""psql: what a person types. Each session is one psql that reads its script."""

import os
import re
import shutil
import subprocess
import tempfile

from checks import SHARDS, check, equal, ernest, main, service

if not shutil.which("psql"):
    raise SystemExit("psql is missing; run: tests/setup.sh tests")

VERSION = int(re.search(r"\) (\d+)", subprocess.check_output(["psql", "--version"], text=True)).group(1))


def psql(*arguments, script=None, env=None, login=None):
    """Runs psql; gives its exit status, its output and its errors."""
    environment = {**os.environ, "PSQLRC": "/dev/null", "PSQL_HISTORY": "/dev/null", **(env or {})}
    if login:
        owner = service(login)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
        environment.update({names[key]: owner[key] for key in names})
    done = subprocess.run(
        ["psql", "-X", "-A", "-t", "-v", "VERBOSITY=verbose", *arguments],
        input=script,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def lines(script, **kwargs):
    """The output of a script in which nothing fails."""
    status, said, errors = psql("-v", "ON_ERROR_STOP=1", script=script, **kwargs)
    assert status == 0 and not errors, f"{script}\nstatus {status}\n{said}{errors}"
    return said.splitlines()


def admin(script):
    lines(script, login="veneer-admin")


@check
def four_tenants_in_one_session():
    script = "".join(f"SELECT id FROM {tenant}.authors WHERE first_name = 'Ernest';\n" for tenant in SHARDS)
    equal(lines(script), [str(ernest(tenant)) for tenant in SHARDS])
    script = "".join(
        f"SET search_path = {tenant};\nSHOW search_path;\nSELECT id FROM authors WHERE first_name = 'Ernest';\n"
        for tenant in SHARDS
    )
    wanted = [line for tenant in SHARDS for line in ("SET", tenant, str(ernest(tenant)))]
    equal(lines(script), wanted)
    joined = "SELECT title FROM cyberdyne.books b JOIN cyberdyne.authors a ON a.id = b.author_id WHERE last_name = 'Lee';"
    equal(lines(joined), ["To Kill a Mockingbird"])
    shared = "SELECT count(*) FROM cyberdyne.authors a JOIN dunder_mifflin.authors b USING (first_name, last_name);"
    equal(lines(shared), ["7"])
    equal(lines("SHOW search_path; SELECT count(*) FROM books;", env={"PGOPTIONS": "-c search_path=initech"}), ["initech", "8"])


@check
def refusals_say_why():
    status, said, errors = psql(
        script="SELECT * FROM cyberdyne.authors, initech.authors;\n"
        "SET search_path = cyberdine;\nSELECT * FROM authors;\nSELECT 'still here';\n"
    )
    equal((status, said), (0, "SET\nstill here\n"))
    assert "ERROR:  0A000" in errors and "shard2" in errors and "shard3" in errors and "initech" in errors, errors
    assert "ERROR:  3F000" in errors and '"cyberdyne"' in errors and "HINT:" in errors, errors


@check
def transactions():
    status, said, errors = psql(
        script="BEGIN;\nSELECT count(*) FROM cyberdyne.books;\n"
        "SELECT count(*) FROM initech.books;\nSELECT 1;\nCOMMIT;\nSELECT count(*) FROM initech.books;\n"
    )
    equal((status, said.splitlines()), (0, ["BEGIN", "8", "ROLLBACK", "8"]))
    assert errors.count("ERROR:") == 2 and "0A000" in errors and "25P02" in errors, errors
    script = (
        "BEGIN; SET LOCAL search_path = initech; SAVEPOINT a;\nDELETE FROM books;\nSELECT count(*) FROM books;\n"
        "ROLLBACK TO a;\nSELECT count(*) FROM books;\nROLLBACK;\n"
    )
    equal(lines(script)[-4:], ["0", "ROLLBACK", "8", "ROLLBACK"])
    # A tenantless read first, then a tenant elsewhere; and a strict transaction that begins there.
    equal(
        lines("BEGIN;\nSELECT 1;\nSELECT count(*) FROM initech.books;\nEND;\n"),
        ["BEGIN", "1", "8", "COMMIT"],
    )
    script = (
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY;\nSELECT count(*) FROM initech.books;\n"
        "SHOW transaction_isolation;\nCOMMIT AND CHAIN;\nSHOW transaction_isolation;\nEND;\n"
    )
    equal(lines(script), ["START TRANSACTION", "8", "serializable", "COMMIT", "serializable", "COMMIT"])


@check
def copying_in_and_out():
    admin("CREATE TABLE initech.psql_copy (n int, word text);")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "words.csv")
        with open(path, "w") as file:
            file.writelines(f'{n},"word, {n}"\n' for n in range(2000))
        back = os.path.join(directory, "back.csv")
        script = (
            f"\\copy initech.psql_copy FROM '{path}' (FORMAT csv)\n"
            f"\\copy (SELECT * FROM initech.psql_copy ORDER BY n) TO '{back}' (FORMAT csv, FORCE_QUOTE (word))\n"
            "SET search_path = initech;\nCOPY psql_copy FROM STDIN;\n7\tseven\n\\.\nSELECT count(*) FROM psql_copy;\n"
        )
        equal(lines(script), ["COPY 2000", "COPY 2000", "SET", "COPY 1", "2001"])
        with open(path) as file, open(back) as copied:
            equal(copied.read(), file.read())
        status, said, errors = psql(script="COPY initech.psql_copy FROM STDIN;\nno\tnumber\n\\.\nSELECT 'well';\n")
        assert "22P02" in errors and said == "well\n", (said, errors)


@check
def several_statements_in_one_message():
    status, said, errors = psql(
        "-c", "SET search_path = cyberdyne; SELECT count(*) FROM books; SELECT 'two' FROM authors LIMIT 1"
    )
    equal((status, said), (0, "SET\n8\ntwo\n"))
    status, said, errors = psql("-c", "SELECT 1 FROM cyberdyne.books; SELECT 1 FROM initech.books")
    assert status == 1 and "0A000" in errors and said == "", (said, errors)
    # One implicit transaction: the first is undone with the second.
    status, said, errors = psql("-c", "DELETE FROM initech.books; SELECT 1 / 0")
    assert status == 1 and "22012" in errors, errors
    status, said, errors = psql("-c", "BEGIN; DELETE FROM initech.books; ROLLBACK", "-c", "SELECT count(*) FROM initech.books")
    equal((status, said.splitlines()[-2:]), (0, ["ROLLBACK", "8"]))


@check
def describing_a_query():
    equal(
        lines("SELECT id, title, publish_date FROM initech.books\\gdesc"),
        ["id|uuid", "title|text", "publish_date|date"],
    )
    equal(lines("SET search_path = cyberdyne;\nSELECT * FROM authors\\gdesc"), ["SET", "id|uuid", "first_name|text", "last_name|text"])
    equal(lines("SELECT first_name AS who FROM initech.authors WHERE last_name = 'Lee' \\gset\n\\echo :who"), ["Harper"])
    equal(lines("SELECT format('SELECT %s FROM initech.authors LIMIT 1', n) FROM generate_series(1, 2) n \\gexec"), ["1", "2"])
    if 16 <= VERSION:
        equal(lines("SELECT last_name FROM initech.authors WHERE first_name = $1 \\bind Ernest \\g"), ["Hemingway"])


@check
def fetching_in_pieces():
    # FETCH_COUNT makes psql declare a cursor, in a transaction of its own.
    equal(
        lines("\\set FETCH_COUNT 3\nSET search_path = initech;\nSELECT first_name FROM authors ORDER BY id;\nSELECT 'after';")[-1],
        "after",
    )


@check
def catalogue_commands_leave_the_session_well():
    commands = [
        "\\l", "\\dn", "\\dt", "\\dt initech.*", "\\d", "\\d authors", "\\d initech.authors", "\\di+ initech.*",
        "\\df initech.*", "\\dT", "\\du", "\\dx", "\\dp initech.books", "\\ddp", "\\db", "\\conninfo", "\\encoding",
        "\\sf initech.nothing", "\\z", "\\dconfig search_path",
    ]
    for path in ("", "SET search_path = initech;\n"):
        script = path + "".join(f"{command}\n" for command in commands) + "SELECT count(*) FROM initech.books;\n"
        status, said, errors = psql(script=script)
        assert status == 0 and said.splitlines()[-1] == "8", f"{said}\n{errors}"
        for bad in ("08006", "08P01", "XX000", "server closed"):
            assert bad not in errors, errors
    described = "\n".join(lines("SET search_path = initech;\n\\d authors\n"))
    assert "first_name|text" in described, described


@check
def errors_point_at_their_place():
    status, said, errors = psql("-c", "SELECT first_name,\n nothing FROM initech.authors")
    assert "42703" in errors and "LINE 2:" in errors and "LOCATION:" in errors, errors
    status, said, errors = psql("-c", "SELEC 1")
    assert "42601" in errors and 'at or near "SELEC"' in errors and "LINE 1:" in errors, errors


if __name__ == "__main__":
    main()
