"""What the suites need: an environment for Python, and the suites' own files as their makers publish them."""

import ctypes
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PLACE = TARGET / "conformance"
VENV = PLACE / "venv"
PYTHON = VENV / "bin" / "python"
DOWNLOAD_SECONDS_MAX = 300
PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """Says what is missing and how to get it."""


def venv():
    """Made anew when the list of packages changes."""
    wanted = (HERE / "requirements.txt").read_text()
    stamp = VENV / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Making {VENV}", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", VENV])
    run([VENV / "bin" / "pip", *PIP, "install", "--no-deps", "--requirement", HERE / "requirements.txt"])
    stamp.write_text(wanted)


PIP = ["--quiet", "--disable-pip-version-check"]


def pinned(package):
    """The version in requirements.txt."""
    text = (HERE / "requirements.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)$", text, re.MULTILINE)
    assert found, f"{package} is not in requirements.txt"
    return found[1]


def sdist(package, version):
    """A fresh copy of the source distribution's folder."""
    sources = PLACE / "sources"
    folder = f"{package}-{version}"
    archive = sources / f"{folder}.tar.gz"
    if not archive.exists():
        print(f"Fetching {archive.name}", file=sys.stderr)
        run(
            [VENV / "bin" / "pip", *PIP, "download", "--no-deps", "--no-binary", ":all:"]
            + ["--dest", sources, f"{package}=={version}"]
        )
    return unpacked(archive, folder)


def debian_source(path, sha256, folder):
    """A fresh copy of the folder in an original archive of Debian's pool."""
    sources = PLACE / "sources"
    archive = sources / path.rpartition("/")[2]
    if not archive.exists():
        print(f"Fetching {archive.name}", file=sys.stderr)
        sources.mkdir(parents=True, exist_ok=True)
        draft = archive.with_name(archive.name + ".draft")
        url = f"http://deb.debian.org/debian/pool/{path}"
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS_MAX) as answer, draft.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except urllib.error.URLError as error:
            raise Missing(f"{url}: {error}") from error
        draft.rename(archive)
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise Missing(f"{archive} has the SHA-256 {found}, and wanted is {sha256}: remove it")
    return unpacked(archive, folder)


def node_modules(folder):
    """What a folder's package-lock.json names, beside a copy of the folder."""
    if not shutil.which("npm"):
        raise Missing("node and npm are missing: install nodejs (20 or newer) and npm")
    copy = PLACE / "node"
    lock = (folder / "package-lock.json").read_text()
    stamp = copy / "installed.txt"
    if not stamp.exists() or stamp.read_text() != lock:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        print(f"Making {copy / 'node_modules'}", file=sys.stderr)
        subprocess.run(
            ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=copy, check=True, stdin=subprocess.DEVNULL
        )
        stamp.write_text(lock)
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy


def unpacked(archive, folder):
    work = PLACE / "work"
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        # Older releases of Python 3.11 have no filters.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        tar.extractall(work)
    return work / folder


def edit(folder, files, edits):
    """Changes a suite's copy. An edit that finds nothing is a mistake."""
    texts = {path: path.read_text() for path in sorted(folder.glob(files))}
    for pattern, replacement in edits:
        count = 0
        for path, text in texts.items():
            texts[path], changed = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            count += changed
        assert count, f"{pattern!r} is not in {folder / files}"
    for path, text in texts.items():
        path.write_text(text)


def dies_with_us():
    """For `preexec_fn`: whoever kills us, and however, leaves no orphan."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
