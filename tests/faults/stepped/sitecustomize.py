"""Loaded by every Python process of an instance under test: its clock is ahead by the seconds in FAULTS_CLOCK_FILE.

The machine's own clock stays as it is, and so do PostgreSQL's and Valkey's: leasebox takes the time from `SystemClock`.
A role tells PostgreSQL its process id, so that whoever waits for a lock can be found on the machine.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FILE = Path(os.environ["FAULTS_CLOCK_FILE"])


def stepped(_: object) -> datetime:
    """The present as the clock file has it."""
    return datetime.now(UTC) + timedelta(seconds=float(FILE.read_text() or 0))


try:
    from leasebox.values import clock
except ImportError:
    pass
else:
    clock.SystemClock.now = stepped  # type: ignore[method-assign, assignment]


def name_pools() -> None:
    """In a role that was forked: its imports are done, and it has no connection yet."""
    driver: Any = sys.modules.get("asyncpg")
    if driver is not None and driver.create_pool is not named_pool:
        UNNAMED.append(driver.create_pool)
        driver.create_pool = named_pool


def named_pool(*words: Any, **more: Any) -> Any:
    """A pool whose connections tell whose they are."""
    settings = {"application_name": f"pid {os.getpid()}"}
    return UNNAMED[0](*words, server_settings=settings, **more)


UNNAMED: list[Callable[..., Any]] = []
os.register_at_fork(after_in_child=name_pools)
# A role that was started as a program of its own.
if b"\0serve\0" in Path("/proc/self/cmdline").read_bytes() and "DATABASE_URL" in os.environ:
    os.environ["DATABASE_URL"] += f"&application_name=pid%20{os.getpid()}"
