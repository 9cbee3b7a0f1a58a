"""The suites: where their files come from, and how each is run in a tenant."""

import json
import subprocess
import time
from dataclasses import dataclass, field

import outcome
import supply
from world import DATABASE, PASSWORD, ROLE, TENANT

# The path of the suites' role. PostgreSQL and veneer both take it from the role, so that a suite
# need not know of tenants.
PATH = f"{TENANT}, public"
TEST_SECONDS_MAX = 60
MEASURE_SECONDS_MAX = 300
DIRECTLY, THROUGH = "directly", "through veneer"


@dataclass
class Suite:
    name: str
    version: str = ""
    # Left out of the short run.
    long: bool = True
    # For World.renew.
    world: dict = field(default_factory=dict)
    shard: str = "shard2"

    def both(self, world):
        """Outcomes directly and through veneer, and notes."""
        self.prepare()
        found = []
        for how in (DIRECTLY, THROUGH):
            self.world_now = world
            world.renew(**({"tenants": {TENANT: self.shard}, "path": PATH} | self.world | self.placed(how)))
            began = time.monotonic()
            print(f"{self.name} {self.version} {how} …", flush=True)
            if how == DIRECTLY:
                found.append(self.outcomes(world.directly(self.shard), how))
            else:
                with world.veneer() as environment:
                    found.append(self.outcomes(environment, how))
            print(f"    {time.monotonic() - began:.0f} s", flush=True)
        return *found, self.notes()

    def prepare(self):
        """Fetches what the suite needs."""

    def placed(self, how):
        """What else `World.renew` is to be told."""
        return {}

    def notes(self):
        return []


@dataclass
class Junit(Suite):
    """A suite that writes its outcomes down as JUnit does."""

    seconds_max: int = 900

    def outcomes(self, environment, how):
        file = supply.PLACE / f"{self.name}-{how.replace(' ', '-')}.xml"
        file.unlink(missing_ok=True)
        log = file.with_suffix(".log")
        with log.open("w") as output:
            try:
                subprocess.run(
                    self.command(file, environment), cwd=self.folder, env=environment | self.environment(),
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    timeout=self.seconds_max, check=False, preexec_fn=supply.dies_with_us,
                )
            except subprocess.TimeoutExpired as error:
                raise AssertionError(f"{self.name} {how} took too long: see {log}") from error
        assert file.exists(), f"{self.name} {how} broke: see {log}\n{log.read_text()[-2000:]}"
        return outcome.junit(file)

    def environment(self):
        return {}


@dataclass
class Pytest(Junit):
    arguments: list[str] = field(default_factory=list)

    def command(self, file, environment):
        command = [supply.PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb", "native"]
        command += ["--timeout", str(TEST_SECONDS_MAX), "--junitxml", file]
        return command + [part.format(**environment) for part in self.arguments]


class Asyncpg(Pytest):
    def prepare(self):
        self.folder = supply.sdist("asyncpg", self.version)
        # The driver itself is the installed one, of the same version.
        (self.folder / "asyncpg").rename(self.folder / "asyncpg.not-built")
        # The tests take the schema of their tables for `public`.
        supply.edit(
            self.folder, "tests/*.py",
            [(r"'public'", f"'{TENANT}'"), (r"\bpublic\.", f"{TENANT}."), (r"search_path=public", f"search_path={TENANT}")],
        )

    def environment(self):
        return {"PYTHONPATH": str(supply.HERE / "plugins")}


class SqlAlchemy(Pytest):
    def prepare(self):
        self.folder = supply.sdist("sqlalchemy", self.version)
        # The extensions are there.
        supply.edit(
            self.folder, "lib/sqlalchemy/dialects/postgresql/provision.py",
            [(r'^    \("(citext|hstore)", \(13,\)\),\n', "")],
        )
        # The tests take the default schema for `public`.
        supply.edit(self.folder, "test/dialect/postgresql/test_reflection.py", [('"public"', f'"{TENANT}"')])


def asyncpg(short):
    files = ["tests"]
    if short:
        files = [f"tests/test_{name}.py" for name in ("cursor", "execute", "prepare", "transaction")]
    return Asyncpg(
        name="asyncpg", version=supply.pinned("asyncpg"), long=False,
        # Some tests name the database.
        world={"superuser": True, "database": "postgres"},
        arguments=["-p", "asyncpg_in_a_tenant", *files, *without(
            # About the source code, and clusters of the suite's own: veneer is not in the way.
            "tests/test__sourcecode.py", "tests/test_connect.py::TestConnectionAttributes",
        )],
    )


class Psycopg2(Pytest):
    def prepare(self):
        self.folder = supply.sdist("psycopg2", self.version)
        # The driver itself is the installed one, of the same version.
        (self.folder / "lib").rename(self.folder / "lib.not-built")
        # The tests take the schema of their types for `public`.
        supply.edit(self.folder, "tests/*.py", [(r"'public'", f"'{TENANT}'")])

    def environment(self):
        return {"PSYCOPG2_TESTDB": DATABASE}


def psycopg2():
    return Psycopg2(
        name="psycopg2", version=supply.pinned("psycopg2-binary"),
        world={"superuser": True, "extensions": ["hstore"]},
        arguments=["tests", *without(
            # It looks for the libpq that psycopg2 was built with, and the wheel brings its own.
            "tests/test_connection.py::ConnectionTests::test_pgconn_ptr",
        )],
    )


def apart(how):
    """Directly, both schemas are on one shard; through veneer, each tenant is on its own."""
    south = "shard2" if how == DIRECTLY else "shard3"
    return {"tenants": {"north": "shard2", "south": south}, "path": None}


class Node(Junit):
    def prepare(self):
        self.folder = supply.node_modules(supply.HERE / "node")

    def placed(self, how):
        return apart(how)

    def command(self, file, _environment):
        command = ["node", "--test", f"--test-timeout={TEST_SECONDS_MAX * 1000}"]
        return [*command, "--test-reporter=junit", f"--test-reporter-destination={file}", "clients.test.js"]


def node():
    packages = json.loads((supply.HERE / "node" / "package.json").read_text())["dependencies"]
    version = ", ".join(f"{name} {packages[name]}" for name in ("pg", "postgres", "knex"))
    return Node(name="node", version=version)


@dataclass
class Django(Pytest):
    measures: bool = True

    def prepare(self):
        self.folder = supply.HERE / "django_project"
        self.ratios = []

    def placed(self, how):
        return apart(how)

    def notes(self):
        return self.ratios

    def outcomes(self, environment, how):
        found = super().outcomes(environment, how)
        if how == THROUGH and self.measures:
            # A debug build would be measured against an optimised PostgreSQL.
            released = supply.TARGET / "release" / "veneer"
            if not released.exists():
                raise supply.Missing(f"{released} is missing: run `cargo build --release`")
            with self.world_now.veneer(program=released) as fast:
                self.ratios = [self.measured(fast)]
        return found

    def measured(self, environment):
        """SET before every statement, in front of the very shard that is then asked directly."""
        parts = []
        for once in ("no", "yes"):
            ran = subprocess.run(
                [supply.PYTHON, "measure.py"], cwd=self.folder, stdin=subprocess.DEVNULL,
                env=environment | {"SHARD_PORT": str(self.world_now.ports["shard2"]), "SET_ONCE": once},
                stdout=subprocess.PIPE, text=True, timeout=MEASURE_SECONDS_MAX, check=True,
                preexec_fn=supply.dies_with_us,
            )
            times = json.loads(ran.stdout)
            ratio = times["default"] / times["shard"]
            what = "one SET for a request's statements" if once == "yes" else "SET before every statement"
            parts.append(
                f"{what}: {times['default'] * 1e6:.0f} µs through veneer, {times['shard'] * 1e6:.0f} µs"
                f" directly, ratio {ratio:.2f}"
            )
        return "A `get` of Django's ORM (release build, in turn, median): " + "; ".join(parts) + "."


def django(short):
    return Django(
        name="django-tenants", long=False, measures=not short, version=f"{supply.pinned('django-tenants')} (Django {supply.pinned('Django')})",
        arguments=["."],
    )


def sqlalchemy(driver, *tests):
    return SqlAlchemy(
        name=f"sqlalchemy-{driver}", version=supply.pinned("SQLAlchemy"),
        world={
            "tenants": {TENANT: "shard2", "test_schema": "shard2", "test_schema_2": "shard2"},
            "extensions": ["citext", "hstore"],
        },
        arguments=[
            "--dburi", f"postgresql+{driver}://{ROLE}:{PASSWORD}@{{PGHOST}}:{{PGPORT}}/{{PGDATABASE}}",
            # Without what never asks the database.
            "--maxfail", "100000", "--backend-only", *(f"test/dialect/{test}" for test in tests),
        ],
    )


def without(*tests):
    return [part for test in tests for part in ("--deselect", test)]


def every(*, short):
    from regress import Regress

    return [
        asyncpg(short),
        psycopg2(),
        django(short),
        node(),
        sqlalchemy("psycopg", "postgresql", "test_suite.py"),
        sqlalchemy("asyncpg", "postgresql"),
        sqlalchemy("psycopg2", "postgresql/test_dialect.py", "postgresql/test_query.py", "test_suite.py"),
        Regress(name="postgresql-regress", version="15.18"),
    ]


def chosen(suites, names, *, short):
    unknown = set(names) - {suite.name for suite in suites}
    assert not unknown, f"there is no suite {unknown}; there are {[suite.name for suite in suites]}"
    return [
        suite for suite in suites
        if (not names or suite.name in names) and not (short and suite.long)
    ]
