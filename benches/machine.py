"""What a run was measured on, and with what."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

from clusters import SETTINGS
from processes import program
from run import ROOT, TARGET
from systems import POOL


def about(options):
    revision = commit() if options.binary.is_relative_to(TARGET) else "of another place"
    return {
        "measured": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_before": load(),
        "versions": {
            "veneer": f"{said(options.binary, '--version')} ({revision})",
            "PostgreSQL": said(program("postgres"), "--version"),
            "PgBouncer": said(program("pgbouncer"), "--version"),
            "pgbench": said(program("pgbench"), "--version"),
        },
        "binary": shown(options.binary),
        "against": shown(options.against),
        "repetitions": options.reps,
        "seconds": options.seconds,
        "scale": options.scale,
        "pool": POOL,
        "postgresql_settings": SETTINGS,
    }


def told(found):
    """A few lines for people."""
    seconds, versions = found["seconds"], found["versions"]
    return "\n".join([
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, Linux {found['kernel']}; "
        f"load before it began: {found['load_before']}",
        "; ".join(versions.values()),
        f"{found['repetitions']} interleaved repetitions of {seconds} or {2 * seconds} s; pgbench scale {found['scale']}; "
        f"{found['pool']} backends per pool; SCRAM everywhere; TCP on loopback; fsync and synchronous_commit off everywhere",
    ])


def load():
    """What else the machine does: before the run, nothing should be best."""
    return round(os.getloadavg()[0], 2)


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def said(*command):
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    # Debian says its own version once more in parentheses.
    return re.sub(r" \(Debian.*\)", "", output.strip().splitlines()[0]) if output.strip() else "unknown"


def commit():
    revision = git("rev-parse", "--short", "HEAD") or "no revision"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml", "Cargo.lock")
    return revision + (" with changes" if changed else "")


def git(*arguments):
    command = ["git", "-C", ROOT, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()


def how(workload):
    return f"make bench BENCH_ARGS='--only {workload}'"


def shown(path):
    """Without this machine's directories."""
    if path is None:
        return None
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
