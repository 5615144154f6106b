"""A clock that tests set. It begins at the present, so that what it stamps agrees with the machine's own clock."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, **by: float) -> None:
        """Let time pass: `advance(hours=2)`."""
        self._ahead += timedelta(**by)
