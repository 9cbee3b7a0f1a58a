"""PostgreSQL's own regression schedule: what psql prints for each script, directly and through veneer."""

import difflib
import subprocess
from collections import Counter
from dataclasses import dataclass, field

import outcome
import supply
from suites import DIRECTLY, THROUGH, Suite
from tap import Tap
from world import TENANT

AGAIN = "directly, without what veneer refuses"
# A refusal that the tap makes up carries the context of its making.
MADE_UP = "CONTEXT:  PL/pgSQL function inline_code_block line 1 at RAISE\n"
ONLY_REFUSALS = "only what veneer refuses differs"

SCRIPT_SECONDS_MAX = 120
DIFF_LINES_MAX = 400
# As pg_regress sets them, but for the tenant.
OPTIONS = f"-c search_path={TENANT},public -c veneer.tenant={TENANT} -c intervalstyle=postgres_verbose"


@dataclass
class Regress(Suite):
    scripts: list[str] = field(default_factory=list)

    def prepare(self):
        top = supply.debian_source(
            "main/p/postgresql-15/postgresql-15_15.18.orig.tar.bz2",
            "11df0df97fe3ea4ba9a791faaf39cee1d2fe571e78885b5b55d8517d27c323b4",
            "postgresql-15.18/src/test/regress",
        )
        self.folder = top
        self.schedule = [
            script
            for line in (top / "parallel_schedule").read_text().splitlines()
            if line.startswith("test: ")
            for script in line.removeprefix("test: ").split()
        ]
        self.printed = {}

    def both(self, world):
        """Three times each script: directly, through veneer, and directly again without what
        veneer has refused. The third tells what else differs."""
        self.prepare()
        plain, through, refused, again = {}, {}, {}, {}
        for how in (DIRECTLY, THROUGH, AGAIN):
            world.renew({TENANT: self.shard}, superuser=True)
            print(f"{self.name} {self.version} {how} …", flush=True)
            if how == THROUGH:
                with world.veneer() as environment:
                    for script in self.chosen():
                        with Tap(int(environment["PGPORT"])) as tap:
                            through[script] = self.play(script, environment, how, tap.listening)
                        refused[script] = tap
                continue
            environment = world.directly(self.shard)
            for script in self.chosen():
                if how == DIRECTLY:
                    plain[script] = self.play(script, environment, how, environment["PGPORT"])
                else:
                    with Tap(int(environment["PGPORT"]), refused[script].refused) as tap:
                        again[script] = self.play(script, environment, how, tap.listening)
        return *self.judged(plain, through, refused, again), []

    def judged(self, plain, through, refused, again):
        directly, behind = {}, {}
        kinds = Counter()
        for script in self.chosen():
            directly[script] = outcome.Outcome(outcome.PASSED)
            if plain[script] == through[script]:
                behind[script] = outcome.Outcome(outcome.PASSED)
            elif again[script] == through[script]:
                behind[script] = outcome.Outcome(outcome.FAILED, ONLY_REFUSALS)
            else:
                behind[script] = outcome.Outcome(outcome.FAILED, unlike(again[script], through[script]))
            kinds.update(refused[script].kinds())
        # Each kind of refusal needs a reason of its own.
        for kind, count in kinds.items():
            name = f"refused: {kind}"
            directly[name] = outcome.Outcome(outcome.PASSED)
            behind[name] = outcome.Outcome(outcome.FAILED, f"{kind} ({count} times)")
        return directly, behind

    def chosen(self):
        return self.scripts or self.schedule

    def play(self, script, environment, how, port):
        folder = supply.PLACE / f"{self.name}-{how.replace(' ', '-')}"
        folder.mkdir(exist_ok=True)
        file = folder / f"{script}.out"
        ours = {
            "PGPORT": str(port), "PGSSLMODE": "disable", "PGGSSENCMODE": "disable",
            "PGOPTIONS": OPTIONS, "PGTZ": "PST8PDT", "PGDATESTYLE": "Postgres, MDY",
            "LC_MESSAGES": "C", "LC_ALL": "C.UTF-8", "PGAPPNAME": f"regress/{script}",
            "PG_ABS_SRCDIR": str(self.folder), "PG_ABS_BUILDDIR": str(self.folder),
            "PG_LIBDIR": str(self.folder), "PG_DLSUFFIX": ".so",
        }
        command = ["psql", "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"]
        with (self.folder / "sql" / f"{script}.sql").open() as text, file.open("w") as output:
            try:
                subprocess.run(
                    command, env=environment | ours, cwd=self.folder, stdin=text, stdout=output,
                    stderr=subprocess.STDOUT, timeout=SCRIPT_SECONDS_MAX, check=False, preexec_fn=supply.dies_with_us,
                )
            except subprocess.TimeoutExpired:
                output.write("\nTOOK TOO LONG\n")
        text = file.read_text(errors="surrogateescape").replace(MADE_UP, "")
        # psql names its port when a script connects anew.
        return text.replace(f'port "{port}"', "port")


def unlike(direct, through):
    lines = [text.splitlines() for text in (direct, through)]
    diff = difflib.unified_diff(*lines, "directly, without what veneer refuses", "through veneer", lineterm="", n=2)
    return "\n".join(list(diff)[:DIFF_LINES_MAX])
