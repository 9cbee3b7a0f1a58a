"""Processes that we start: as whom, for how long, what they use, and that they end with us."""

import contextlib
import ctypes
import functools
import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
STOP_SECONDS_MAX = 20
TICKS = os.sysconf("SC_CLK_TCK")
# What `clear_refs` takes to mean: the peak begins anew.
RESET_PEAK = "5"
# PostgreSQL's packages make the first; every Unix has the second.
LESSER_ACCOUNTS = ["postgres", "nobody"]
# Parents of directories that packages use, one per version.
VERSIONED_PLACES = ["/usr/lib/postgresql", "/opt/homebrew/opt"]


class Failure(Exception):
    """What went wrong, in the words of the program that it went wrong in."""


def lesser_account():
    """Neither PostgreSQL nor PgBouncer runs as root: root lends them an account."""
    if os.geteuid() != 0:
        return {}
    for name in LESSER_ACCOUNTS:
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise Failure("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`")


ACCOUNT = lesser_account()


def give(path):
    """Makes the lesser account the owner of something that we have just made."""
    if ACCOUNT:
        os.chown(path, ACCOUNT["user"], ACCOUNT["group"])


def reaches(directory):
    """Whether the lesser account can enter a directory: asked of the kernel."""
    command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", directory]
    return subprocess.run(command, cwd="/", stderr=subprocess.DEVNULL, check=False, **ACCOUNT).returncode == 0


@functools.cache
def program(name):
    """Clients of the server's version if there are any: Debian's on PATH are scripts that look for one first."""
    if name in ("psql", "pgbench"):
        beside = Path(program("postgres")).with_name(name)
        if beside.exists():
            return str(beside)
    # Server programs are not on PATH on Debian.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/pgsql/bin")
    if found:
        return found
    versions = [path for place in VERSIONED_PLACES for path in Path(place).glob(f"*/bin/{name}")]
    if not versions:
        raise Failure(f"`{name}` was not found: run tests/setup.sh bench")
    return str(max(versions, key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0)))


def many_files(wanted):
    """Lets us and what we start open `wanted` files, or says who must allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError) as error:
            raise Failure(f"{wanted} open files are needed and {hard} allowed: raise `ulimit -Hn`") from error
    elif soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def ends_with_us(how):
    """For `preexec_fn`: the kernel tells the child when we are gone, however we went."""
    def tell():
        LIBC.prctl(PR_SET_PDEATHSIG, how)
    return tell


class Process:
    """One that runs until it is stopped, by its own process id."""

    def __init__(self, name, command, log, *, account=None, stop=signal.SIGINT, env=None):
        self.name, self.log, self.how = name, Path(log), stop
        with open(self.log, "ab") as output:
            self.began_at = output.tell()
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                # Ctrl-C is for us alone: we decide in which order things stop.
                cwd="/", process_group=0, preexec_fn=ends_with_us(stop), env=env, **(account or {}),
            )
        self.pid = self.child.pid

    def check(self):
        """Raises when it has ended by itself."""
        status = self.child.poll()
        if status is not None:
            raise Failure(f"{self.name} has ended with {status}; its log ends with:\n{self.tail()}")

    def tail(self, lines=12):
        with open(self.log, "rb") as log:
            log.seek(self.began_at)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(self.how)
            try:
                self.child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def run(command, *, seconds, env=None, stdin=subprocess.DEVNULL, account=None, cwd=None):
    """Runs to its end, within `seconds`; what it said on both outputs, or a Failure with it."""
    command = [str(part) for part in command]
    child = subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        process_group=0, preexec_fn=ends_with_us(signal.SIGKILL), env=env, cwd=cwd, **(account or {}),
    )
    try:
        output, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        output, errors = child.communicate()
        raise Failure(f"`{' '.join(command)}` was not done after {seconds:.0f} s\n{tail(errors)}") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode:
        raise Failure(f"`{' '.join(command)}` ended with {child.returncode}\n{tail(errors) or tail(output)}")
    return output, errors


def tail(text, lines=8):
    return "\n".join(text.strip().splitlines()[-lines:])


class Meter:
    """What one process uses, from /proc."""

    every = 0.02

    def __init__(self, pid):
        self.pid = pid
        # The process's own CPU clock (see clock_getcpuclockid): all threads, in nanoseconds,
        # where /proc/PID/stat counts in hundredths of a second.
        self.clock = (~pid << 3) | 2

    def cpu(self):
        """Seconds: all of it, user's, system's."""
        user, system = stat(self.pid)[:2]
        return time.clock_gettime(self.clock), user, system

    def memory(self):
        """RSS now, and its peak since `forget_peak`, in KiB."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines())
        return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])

    def forget_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text(RESET_PEAK)


class ClusterMeter:
    """What a PostgreSQL cluster uses: its postmaster, the children that live, and those it has waited for."""

    every = 0.1

    def __init__(self, pid):
        self.pid = pid

    def cpu(self):
        user, system, gone_user, gone_system = stat(self.pid)
        user, system = user + gone_user, system + gone_system
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                more = stat(child)
                user, system = user + more[0], system + more[1]
        return user + system, user, system

    def memory(self):
        # A sum would count the shared buffers once for each backend.
        return None, None

    def forget_peak(self):
        pass


def stat(pid):
    """User and system time, and those of children that were waited for, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(ticks) / TICKS for ticks in fields[11:15]]
