"""CPU time of other processes, to the nanosecond, from what Linux's scheduler counted for each of their threads."""

import contextlib
from pathlib import Path

_PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """A process and everything under it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    family, front = [], [pid]
    while front:
        family.append(front.pop())
        front.extend(children.get(family[-1], []))
    return family


def argv(pid: int) -> list[str]:
    """A process's command line; empty when it has gone."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return []


def seconds(pids: list[int]) -> dict[int, float]:
    """By process, the CPU seconds of its threads that live now."""
    return {pid: _of(pid) for pid in pids}


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between two looks. A process that came in between counts whole."""
    return sum(max(0.0, late - before.get(pid, 0.0)) for pid, late in after.items())


def _of(pid: int) -> float:
    nanoseconds = 0
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9
