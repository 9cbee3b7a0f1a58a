"""A whole run: starts everybody, measures workload after workload, and tells what was found."""

import fnmatch
import sys
import time

import document
import figures
import machine
import report
import systems
import tables
import targets
import workloads
from clusters import World
from processes import Failure, many_files
from run import PLACE, SCALE, TARGET

# A part leaves it alone.
WHOLE = "results.json"
# What a whole run has so far.
BEGUN = "results-begun.json"


class Bench:
    """What the workloads are told."""

    def __init__(self, options, world):
        self.world = world
        self.options = options
        self.place = world.place
        self.systems = chosen_systems(options, world)
        self.direct = systems.Direct(world)
        self.megabytes = 10 if options.smoke else 1000
        self.idlers = 50 if options.smoke else 10_000
        self.calm_seconds = 0.1 if options.smoke else 1
        self.results = figures.Results()
        self.failures = []

    def is_whole(self):
        return not (self.options.only or self.options.systems or self.options.smoke)

    def timed(self, weight):
        """How long a run is, for pgbench."""
        return {"transactions": 10} if self.options.smoke else {"seconds": self.options.seconds * weight}

    def clients(self, wanted):
        return min(wanted, 4) if self.options.smoke else wanted

    def script(self, name, text):
        """A file with pgbench's script."""
        path = self.place / "scripts" / f"{name}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{scale}", str(self.options.scale)))
        return path

    def measure(self, workload):
        workload.prepare(self)
        for repetition in range(0 if workload.warm else 1, self.options.reps + 1):
            for case in workload.cases:
                for system in self.systems:
                    if system.name in case.systems:
                        self.one(workload, case, system, repetition)

    def failed(self, name, failure):
        """Told at once and once more in the end."""
        self.failures.append((name, str(failure)))
        print(f"\n{name} FAILED: {failure}", file=sys.stderr, flush=True)

    def one(self, workload, case, system, repetition):
        found = case.run(self, system)
        system.check()
        if "peak_kib" in found:
            found["peak_mb"] = found["peak_kib"] / 1024
        if repetition == 0:
            return
        command = found.pop("command")
        measured = figures.Measurement(workload.name, case.label, system.name, repetition, found, command)
        self.results.measurements.append(measured)


def list_workloads(options):
    for workload in chosen_workloads(options.only):
        print(f"{workload.name:24}{workload.title}")


def rewrite():
    """The documents, from what the last whole run has left."""
    about, found = report.load(PLACE / WHOLE)
    document.write(about, found, workloads.every(), targets.verdicts(found))


def measure(options, place):
    """Everything; what the process is to exit with."""
    chosen = chosen_workloads(options.only)
    for binary in filter(None, (options.binary, options.against)):
        if not binary.exists():
            raise SystemExit(f"{binary} is missing: run `cargo build --release`, or name another with --binary")
    began = time.monotonic()
    try:
        many_files(systems.CLIENTS_MAX + 2000)
        world = World(place, options.scale)
        with world.running():
            tables.fill(world)
            bench = Bench(options, world)
            about = machine.about(options)
            print(machine.told(about), flush=True)
            left = resumed(bench, chosen, about) if options.resume else chosen
            with systems.running(bench.systems):
                attempt_all(bench, left, about)
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    about |= {"load_after": machine.load(), "minutes": round((time.monotonic() - began) / 60, 1)}
    return finish(bench, chosen, about)


def resumed(bench, chosen, about):
    """Takes over what an interrupted run of the same program has finished; gives what is left."""
    path = bench.place / BEGUN
    if not path.exists():
        raise SystemExit("no whole run was interrupted")
    before, found = report.load(path)
    if any(before[key] != about[key] for key in ("versions", "repetitions", "seconds", "scale")):
        raise SystemExit("the run that was interrupted measured something else")
    left = [workload for workload in chosen if report.missing(found, [workload], bench.systems)]
    names = {workload.name for workload in left}
    found.measurements = [measured for measured in found.measurements if measured.workload not in names]
    bench.results = found
    return left


def finish(bench, chosen, about):
    """Writes everything down; 1 if something failed or is missing."""
    found = targets.verdicts(bench.results)
    judged = [verdict for verdict in found if verdict.met is not None]
    # A smoke test's figures say nothing.
    if judged and not bench.options.smoke:
        print("\n" + report.verdict_table(judged))
    path = bench.place / (WHOLE if bench.is_whole() else "results-part.json")
    report.save(path, about, bench.results, bench.failures)
    print(f"\n{about['minutes']} minutes; all figures: {path}")
    for name, text in bench.failures:
        print(f"FAILED: {name}: {text.splitlines()[0]}")
    gaps = report.missing(bench.results, chosen, bench.systems)
    for gap in gaps:
        print(f"MISSING: {gap}")
    if bench.options.write and not (bench.failures or gaps):
        document.write(about, bench.results, workloads.every(), found)
    return 1 if bench.failures or gaps else 0


def settle(options):
    """What was not said, and what does not go together."""
    if options.write and (options.only or options.systems or options.smoke):
        raise SystemExit("--write wants a whole run: leave out --only, --systems and --smoke")
    options.reps = options.reps or (1 if options.smoke else 3 if options.quick else 5)
    options.scale = 1 if options.smoke else SCALE
    options.binary = options.binary or TARGET / ("debug" if options.smoke else "release") / "veneer"
    options.binary = options.binary.resolve()
    options.against = options.against and options.against.resolve()


def chosen_workloads(only):
    every = workloads.every()
    if not only:
        return every
    wanted = only.split(",")
    for pattern in wanted:
        if not any(fnmatch.fnmatch(workload.name, pattern) for workload in every):
            raise SystemExit(f"no workload is called `{pattern}`: see --list")
    return [workload for workload in every if any(fnmatch.fnmatch(workload.name, pattern) for pattern in wanted)]


def chosen_systems(options, world):
    every = [systems.Direct(world), systems.Veneer(world, options.binary)]
    if options.against:
        every.append(systems.Veneer(world, options.against, "before", "veneer (before)"))
    every += [systems.PgBouncer(world), systems.Fdw(world)]
    if not options.systems:
        return every
    wanted = options.systems.split(",")
    unknown = set(wanted) - {system.name for system in every}
    if unknown:
        hint = "" if options.against else " (`before` wants --against)"
        raise SystemExit(f"no system is called `{unknown.pop()}`{hint}")
    return [system for system in every if system.name in wanted]


def attempt_all(bench, chosen, about):
    """Each workload; one that fails is told at once, and the others go on."""
    for workload in chosen:
        try:
            bench.measure(workload)
        except Failure as failure:
            bench.failed(workload.name, failure)
        print("\n" + report.table(bench.results, workload), flush=True)
        if bench.is_whole():
            report.save(bench.place / BEGUN, about, bench.results, bench.failures)
        for system in bench.systems:
            system.rest()
            try:
                system.check()
            except Failure as failure:
                # Nothing can be measured without it.
                return bench.failed(system.name, failure)
