"""What the tests of engines and processes share: waiting, looking at processes, other users."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasebox.infra import confine

ROOT = Path(__file__).parents[2]


def eventually(true: Callable[[], object], within_s: float = 15) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return False


async def soon(true: Callable[[], object], within_s: float = 15) -> None:
    """The same inside a running loop; raises TimeoutError when it does not come true."""
    for _ in range(round(within_s / 0.01)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def offspring(pid: int) -> list[int]:
    """All living descendants of a process."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def argv(pid: int) -> str:
    """The words of a process's command line, a blank after each; empty for one that has gone."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def serves(pid: int, role: str) -> bool:
    """Whether the process is this role of leasebox."""
    return argv(pid).rstrip().endswith(f"serve {role}")


def owners_of(pids: Iterable[int]) -> set[int]:
    """The effective uids of those processes that still live."""
    found = set()
    for pid in pids:
        try:
            status = (Path("/proc") / str(pid) / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.add(int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[2]))
    return found


def python_for_anybody() -> str:
    """An interpreter like ours that a normal user may run, too."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, system):
        path = Path(candidate)
        if path.exists() and confine.reachable(path) and confine.reachable(ROOT / "src"):
            return candidate
    pytest.skip("a Python of this version that a normal user may run is absent")


@contextmanager
def home_of(uid: int) -> Iterator[Path]:
    """An empty directory that belongs to `uid`, where it can get to."""
    path = Path(tempfile.mkdtemp(prefix="lbt-", dir="/tmp"))
    os.chown(path, uid, uid)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
