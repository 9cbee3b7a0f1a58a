#!/usr/bin/env python3
"""Direct, veneer, PgBouncer and postgres_fdw side by side on this machine: `make bench`."""

import argparse
import fcntl
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PLACE = TARGET / "bench"
PYTHON = PLACE / "venv" / "bin" / "python"
SCALE = 10


def main():
    options = parse()
    if Path(sys.prefix) != PYTHON.parents[1]:
        if not PYTHON.exists():
            sys.exit(f"{PYTHON} is missing: run tests/setup.sh bench")
        os.execv(PYTHON, [PYTHON, __file__, *sys.argv[1:]])
    import bench

    bench.settle(options)
    if options.list or options.rewrite:
        return bench.list_workloads(options) if options.list else bench.rewrite()
    signal.signal(signal.SIGTERM, interrupted)
    place = PLACE / "smoke" if options.smoke else PLACE
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another run is at work in {place}")
        try:
            sys.exit(bench.measure(options, place))
        except KeyboardInterrupt:
            sys.exit("Interrupted: everything is stopped")


def interrupted(*_):
    raise KeyboardInterrupt


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME[,NAME]", help="only these workloads; * stands for any letters")
    parser.add_argument("--systems", metavar="NAME[,NAME]", help="only these: direct, veneer, before, pgbouncer, fdw")
    parser.add_argument("--reps", type=int, help="repetitions (5; with --quick 3)")
    parser.add_argument("--seconds", type=int, default=1, help="of a timed run (1; what has a target: twice that)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--smoke", action="store_true", help="everything once and tiny: does it work at all?")
    parser.add_argument("--binary", type=Path, help="veneer's program (target/release/veneer)")
    parser.add_argument("--against", type=Path, metavar="BINARY", help="another one, measured as `before`")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and docs/bench")
    parser.add_argument("--resume", action="store_true", help="go on with a whole run that was interrupted")
    parser.add_argument("--rewrite", action="store_true", help="write them from the last whole run; measure nothing")
    parser.add_argument("--list", action="store_true", help="tell the workloads, and measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
