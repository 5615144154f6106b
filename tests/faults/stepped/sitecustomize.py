"""Loaded by every Python process of an instance under test: its clock is ahead by the seconds in FAULTS_CLOCK_FILE.

The machine's own clock stays as it is, and so do PostgreSQL's and Valkey's: leasebox takes the time from `SystemClock`.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
