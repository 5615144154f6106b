"""Hours and days of UTC, one after the other. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Step(StrEnum):
    """How finely a figure is drawn."""

    HOUR = "hour"
    DAY = "day"

    @property
    def span(self) -> timedelta:
        return timedelta(hours=1) if self is Step.HOUR else timedelta(days=1)


class Point(NamedTuple):
    """A sum over one step; micros where it is money."""

    starts_at: datetime
    value: int


def step_start(at: datetime, step: Step) -> datetime:
    """The beginning of the hour or day that holds a moment."""
    start = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return start if step is Step.HOUR else start.replace(hour=0)


def filled(found: Mapping[datetime, int], start: datetime, end: datetime, step: Step) -> list[Point]:
    """A point for each step from `start`, which begins one, to before `end`; nothing found is nothing happened."""
    count = -(-(end - start) // step.span)
    return [Point(moment, found.get(moment, 0)) for moment in (start + step.span * each for each in range(count))]
