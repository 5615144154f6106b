"""When a mail that could not be handed over is tried again (RFC 5321 §4.5.4.1). Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60, 120, 240, 480, 960, 1440))
"""After the first try, the second …; the last one is repeated."""
SPREAD = 0.2
"""A pause is stretched by up to this share of itself, so that what failed together does not come back together."""


def next_try(tries: int, at: datetime, expires_at: datetime, chance: Callable[[], float]) -> datetime | None:
    """When to try again after so many tries (1 or more); None: by then its time is over, so that it has failed.

    The last try is not skipped: a pause that ends after `expires_at` is cut short to end there, unless it is past.
    chance: draws from [0, 1).
    """
    if at >= expires_at:
        return None
    pause = PAUSES[min(tries, len(PAUSES)) - 1]
    return min(at + pause * (1 + SPREAD * chance()), expires_at)
