"""Hours and days."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from leasebox.admin.series import Point, Step, filled, step_start

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "step", "start"),
    [
        (NOON + timedelta(minutes=59, seconds=59), Step.HOUR, NOON),
        (NOON, Step.HOUR, NOON),
        (NOON, Step.DAY, datetime(2026, 3, 1, tzinfo=UTC)),
        (datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), Step.DAY, datetime(2026, 2, 28, tzinfo=UTC)),
    ],
)
def test_starts(at: datetime, step: Step, start: datetime) -> None:
    assert step_start(at, step) == start


def test_gaps_are_nothing() -> None:
    points = filled({NOON + timedelta(hours=1): 7}, NOON, NOON + timedelta(hours=2, minutes=1), Step.HOUR)
    assert points == [
        Point(NOON, 0),
        Point(NOON + timedelta(hours=1), 7),
        Point(NOON + timedelta(hours=2), 0),
    ]
    assert filled({}, NOON, NOON, Step.DAY) == []
