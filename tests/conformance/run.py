#!/usr/bin/env python3
"""Real suites directly on PostgreSQL and through veneer, side by side: `make conformance`."""

import argparse
import datetime
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import supply

DOCS = supply.ROOT / "docs" / "conformance.md"
HERE = Path(__file__).resolve().parent
WORLD = supply.PLACE / "demo"
# What each suite found when it last ran as a whole.
RESULTS = supply.PLACE / "results"
BEGIN, END = "<!-- Written by `make conformance`. -->", "<!-- End of what is written. -->"


def main():
    arguments = parse()
    if arguments.inside:
        sys.exit(inside(arguments))
    supply.venv()
    sys.exit(outside())


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help="only these suites")
    parser.add_argument("--short", action="store_true", help="a part that takes about a minute")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCS.name}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def outside():
    """The same again, in the conformance tests' environment and beside a running demo."""
    # Of a run that was killed.
    if not lives(WORLD):
        remove(WORLD)
    program = supply.TARGET / "debug" / "veneer"
    again = [str(supply.PYTHON), __file__, "--inside", *sys.argv[1:]]
    demo = [program, "demo", "--dir", WORLD, "--port", "0", "--shard-ports", "0,0,0"]
    demo += ["--exit-after", f"exec {shlex.join(again)}"]
    running = subprocess.Popen(demo, env=os.environ | {"VENEER": str(program)})
    try:
        while True:
            try:
                return running.wait()
            except KeyboardInterrupt:
                # It goes to the demo, too, which stops everything.
                continue
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait()
        if not lives(WORLD):
            remove(WORLD)


def lives(world):
    """Whether a demo holds the lock of its directory."""
    if not (world / "lock").exists():
        return False
    with (world / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove(world):
    """The clusters can be elsewhere, where PostgreSQL's account may go."""
    clusters = world / "clusters"
    if clusters.is_symlink():
        shutil.rmtree(clusters.resolve(), ignore_errors=True)
    shutil.rmtree(world, ignore_errors=True)


def inside(arguments):
    import outcome
    import suites
    from world import World

    world = World(WORLD)
    known = outcome.reasons(HERE / "reasons.toml")
    every = suites.every(short=arguments.short)
    chosen = suites.chosen(every, arguments.suites, short=arguments.short)
    comparisons = []
    for suite in chosen:
        direct, through, notes = suite.both(world)
        comparison = outcome.Comparison(suite.name, suite.version, today(), direct, through, notes)
        comparisons.append(outcome.explain(comparison, known))
        if not arguments.short:
            outcome.save(comparison, RESULTS)
    print(outcome.table(comparisons), "\n", outcome.explained(comparisons), sep="\n")
    # A part of a suite cannot tell which reasons are out of date.
    found = outcome.mistakes(comparisons, [] if arguments.short else known, [suite.name for suite in every])
    for mistake in found:
        print(mistake)
    if arguments.write:
        write(outcome, [suite.name for suite in every])
    print(f"{len(found)} differences or reasons to look at" if found else "Every difference has its reason.")
    return 1 if found else 0


def today():
    """When, and of which revision."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=supply.ROOT, stdout=subprocess.PIPE, text=True, check=False
    ).stdout.strip()
    return f"{datetime.date.today()}, {revision or 'no revision'}"


def write(outcome, names):
    """What was last found for each suite, into the documentation."""
    known = outcome.reasons(HERE / "reasons.toml")
    comparisons = [outcome.explain(found, known) for found in outcome.saved(RESULTS, names)]
    before, _, rest = DOCS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    written = f"{BEGIN}\n\n{outcome.table(comparisons)}\n\n{outcome.explained(comparisons)}\n"
    DOCS.write_text(before + written + END + after)


if __name__ == "__main__":
    main()
