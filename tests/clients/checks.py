"""Checks that say what failed and go on; the script exits with 1 if any did."""

import asyncio
import configparser
import contextlib
import faulthandler
import hashlib
import inspect
import os
import sys
import time
import traceback
import uuid

SHARDS = {"bluth_co": "shard1", "cyberdyne": "shard2", "dunder_mifflin": "shard2", "initech": "shard3"}
PATIENCE = 30
# A script that takes longer hangs; it shows where, and fails.
SECONDS_MAX = 150

_checks = []


def check(function):
    """Marks a function as a check; they run in the order in which they stand."""
    _checks.append(function)
    return function


def ernest(tenant):
    """The id of a tenant's Ernest, as the migration makes it."""
    return uuid.UUID(hashlib.md5(f"{tenant}/authors/Ernest Hemingway".encode()).hexdigest())


def equal(got, wanted, about=""):
    assert got == wanted, f"{about}\n     got {got!r}\n  wanted {wanted!r}"


@contextlib.contextmanager
def fails(sqlstate, *, says=""):
    """The block must fail with this SQLSTATE."""
    try:
        yield
    except Exception as error:
        code = getattr(error, "sqlstate", None)
        assert code == sqlstate, f"wanted {sqlstate}, got {code}: {error!r}"
        assert says in str(error), f"wanted {says!r} in {error}"
    else:
        raise AssertionError(f"wanted {sqlstate}, and it succeeded")


def service(name):
    """The parameters of a service as the demo has written them."""
    services = configparser.ConfigParser(interpolation=None)
    services.read(os.environ["PGSERVICEFILE"])
    return dict(services[name])


def eventually(what, is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"never came about: {what}"
        time.sleep(0.01)


def main():
    faulthandler.dump_traceback_later(SECONDS_MAX, exit=True)
    only = sys.argv[1:]
    wanted = [function for function in _checks if not only or function.__name__ in only]
    failed = []
    for function in wanted:
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(function())
            else:
                function()
        except Exception:
            failed.append(function.__name__)
            print(f"FAILED {function.__name__}")
            traceback.print_exc(file=sys.stdout)
    print(f"{len(wanted) - len(failed)} of {len(wanted)} checks passed")
    if failed:
        print("failed: " + ", ".join(failed))
        sys.exit(1)
