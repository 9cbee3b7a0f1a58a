"""pgbench and what it says, with what the proxy used meanwhile."""

import re
import shlex
import threading
import time
from pathlib import Path

from processes import Failure, program, run
from systems import PREPARED, SESSION, SHARED

# Beyond the seconds that it is to run.
GRACE_SECONDS = 60
PER = 100_000
# What one login takes at first guess, on the clients' side mostly; and how long all may take.
LOGIN_SECONDS = 0.005
LOGIN_SECONDS_MAX = 15
# pgbench's threads: as many as there are cores, here.
THREADS_MAX = 2


def pgbench(
    system, tenant, *, mode="simple", clients, seconds=None, transactions=None, script, more=(), retries=0, lane=None
):
    """One run; figures for `script` (a file, or the name of one of its own)."""
    command = [program("pgbench"), "-n", "-M", mode, "-c", clients, "-j", min(clients, THREADS_MAX)]
    command += ["-f", script] if isinstance(script, Path) else ["-b", script]
    command += ["--max-tries", retries + 1] if retries else []
    command += more
    lane = lane or (SESSION if mode == PREPARED else SHARED)
    env, meter = system.environment(tenant, lane), system.meter(lane)
    if transactions is not None:
        return watched([*command, "-t", transactions], meter, env, None)
    # pgbench's seconds count from the first connection on: logging in takes part of them.
    for more_seconds in range(round(clients * LOGIN_SECONDS), LOGIN_SECONDS_MAX, 2):
        limit = seconds + more_seconds
        found = watched([*command, "-T", limit], meter, env, limit)
        if found and found["seconds"] >= seconds / 2:
            return found
    raise Failure(f"{clients} clients were not logged in after {LOGIN_SECONDS_MAX} s")


def watched(command, meter, env, limit):
    """A run, and what the proxy used meanwhile; None if nobody was logged in at the limit."""
    patience = (limit or 0) + GRACE_SECONDS
    told = {"command": words(command)}
    if meter is None:
        figures = said(*run(command, seconds=patience, env=env), limit)
        return figures and figures | told
    meter.forget_peak()
    with Samples(meter) as samples:
        output, errors = run(command, seconds=patience, env=env)
    figures = said(output, errors, limit)
    if figures is None:
        return None
    if limit is None:
        figures |= samples.in_all(figures["transactions"])
    else:
        figures |= samples.since_logins(figures["seconds"], figures["transactions"])
    return figures | memory(meter) | told


def said(output, errors, limit):
    """What pgbench found; what it complained about is a failure."""
    def number(pattern):
        found = re.search(pattern, output)
        return float(found[1]) if found else None

    done, failed = number(r"actually processed: (\d+)"), number(r"failed transactions: (\d+)")
    if "error:" in errors or "aborted" in errors or done is None or failed != 0:
        raise Failure(f"pgbench: {done or 0:.0f} transactions, {failed or 0:.0f} failed\n{errors.strip()[-2000:]}")
    connecting = number(r"initial connection time = ([\d.]+)") or 0
    if not done:
        return None
    figures = {
        "transactions": done,
        "tps": number(r"tps = ([\d.]+)"),
        "latency_ms": number(r"latency average = ([\d.]+)"),
        "retried": number(r"transactions retried: (\d+)"),
        "seconds": limit and limit - connecting / 1000,
    }
    return {name: value for name, value in figures.items() if value is not None}


def memory(meter):
    rss, peak = meter.memory()
    return {} if rss is None else {"rss_kib": rss, "peak_kib": peak}


class Samples:
    """What a process used, at many moments of a run, so that the logins before it can be cut off."""

    def __init__(self, meter):
        self.meter, self.taken = meter, []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.take, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def take(self):
        while True:
            last = self.done.is_set()
            try:
                self.taken.append((time.monotonic(), *self.meter.cpu()))
            except OSError:
                # It is gone; who waits for it says so.
                return
            if last:
                return
            self.done.wait(self.meter.every)

    def since_logins(self, seconds, transactions):
        """CPU seconds per 100,000 transactions, of a run of so many seconds that ended just now."""
        if len(self.taken) < 2:
            raise Failure("the proxy ended during the run")
        last = self.taken[-1]
        return self.between(self.at(last[0] - seconds), last, transactions)

    def at(self, moment):
        """What had been used at a moment, between two samples in proportion."""
        later = next(i for i, sample in enumerate(self.taken) if sample[0] >= moment)
        if later == 0:
            return self.taken[0]
        before, after = self.taken[later - 1], self.taken[later]
        share = (moment - before[0]) / (after[0] - before[0])
        return tuple(one + (other - one) * share for one, other in zip(before, after, strict=True))

    def in_all(self, transactions):
        if len(self.taken) < 2:
            raise Failure("the proxy ended during the run")
        return self.between(self.taken[0], self.taken[-1], transactions)

    def whole(self):
        """CPU seconds."""
        return {name.replace("cpu", "cpu_seconds"): used for name, used in self.in_all(PER).items()}

    def between(self, first, last, transactions):
        total, user, system = (after - before for before, after in zip(first[1:], last[1:], strict=True))
        # The clock knows the whole, /proc how it divides.
        share = user / (user + system) if user + system else 0
        used = total * PER / transactions
        return {"cpu": used, "cpu_user": used * share, "cpu_system": used * (1 - share)}


def words(command):
    return shlex.join(str(part) for part in command)
