"""How much of this machine's processors others use while we work: what they take, nobody can blame on leasebox."""

import os
from pathlib import Path

from tests.infra.homes import offspring

# Below this they only bring noise.
_NOISE = 0.25
_PROC = Path("/proc")


class Share:
    """What we and others have used of the processors since it was made. We are this process and all it has started.

    Call `look` a few times a second: what a process used between the last look and its end counts as others'.
    """

    def __init__(self) -> None:
        self._all = _busy_ticks()
        self._known = _own_ticks()
        self._ours = 0
        self._began = _elapsed_ticks()

    def look(self) -> None:
        """Count what ours have used by now."""
        now = _own_ticks()
        self._ours += sum(max(0, ticks - self._known.get(pid, 0)) for pid, ticks in now.items())
        self._known = now

    def ours(self) -> float:
        """The share of all processors that we used, 0 to 1."""
        self.look()
        return min(1.0, self._ours / self._possible())

    def others(self) -> float:
        """The share of all processors that others used, 0 to 1."""
        self.look()
        return min(1.0, max(0.0, (_busy_ticks() - self._all - self._ours) / self._possible()))

    def patience(self, seconds: float) -> float:
        """How long something may take now that may take `seconds` on a machine that others leave alone."""
        return stretched(seconds, self.others())

    def _possible(self) -> float:
        return max(1.0, (_elapsed_ticks() - self._began) * (os.cpu_count() or 1))


def stretched(seconds: float, others: float) -> float:
    """A limit, when others use that share of the processors: in proportion, but as it stands below a quarter."""
    return seconds if others < _NOISE else seconds / max(0.1, 1 - others)


def _elapsed_ticks() -> float:
    return float((_PROC / "uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK")


def _busy_ticks() -> int:
    """Of all processors together: user, nice, system, interrupts, and what the hypervisor took (proc(5), stat)."""
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    return user + nice + system + irq + softirq + steal


def _own_ticks() -> dict[int, int]:
    mine = os.getpid()
    return {pid: cpu_ticks(pid) for pid in (mine, *offspring(mine))}


def cpu_ticks(pid: int) -> int:
    """CPU that a process has used, in hundredths of a second (proc(5), stat: utime and stime); 0 when it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
