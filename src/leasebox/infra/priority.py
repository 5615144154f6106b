"""Who goes first when the processors do not suffice."""

import contextlib
import os
from pathlib import Path

_GROUP = Path("/proc/self/autogroup")


def step_back(by: int) -> None:
    """Let others go first: raise this process's nice value by 1 to 19.

    Where Linux shares the processors among sessions (sched(7), autogroup), nice values count within a session only; so
    one that leads a session of its own, as roles do, steps back with it.
    """
    nice = os.nice(by)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # no such file: there are no such groups
            _GROUP.write_text(str(nice))
