"""Time comes in aware and in UTC, and is written one way."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from leasebox.values.clock import SystemClock, hours, rfc3339


def test_the_systems_clock_is_aware_utc_and_the_machines() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now.timestamp() - time.time()) < 5


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 20, 10, 2, 24, 123456, UTC), "2026-11-20T10:02:24.123456Z"),
        (datetime(2026, 11, 20, 10, 2, 24, 0, UTC), "2026-11-20T10:02:24Z"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T22:30:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_in_utc_ending_in_z(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_hours_are_hours() -> None:
    assert hours(36).total_seconds() == 129_600
