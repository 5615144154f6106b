"""Where time comes from. Nobody else asks the machine for it (house rule 4)."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Answers the present as an aware UTC datetime."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-20T10:02:24.123456Z` (RFC 3339, UTC, ending in `Z`)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def hours(count: int) -> timedelta:
    """A span of whole hours."""
    return timedelta(hours=count)
