"""Words of sending, and the arithmetic of its rolling window. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

LIMIT = 10
WINDOW = timedelta(hours=24)


class Taken(Enum):
    """What became of a message's recipients. BOUND: the tenant has a wallet, so nothing is counted."""

    BOUND = "bound"
    COUNTED = "counted"
    REFUSED = "refused"


def live(sent_at: Sequence[datetime], at: datetime) -> list[datetime]:
    """Those of the moments (rising) that still count.

    Time never runs backwards here: a clock that was set back counts as standing still.
    """
    now = max([at, *sent_at[-1:]])
    return [moment for moment in sent_at if moment > now - WINDOW]


def free_at(sent_at: Sequence[datetime], recipients: int, at: datetime) -> datetime | None:
    """When a message to so many recipients fits, if nothing else is sent; `at` if it does now; None: it never will.

    sent_at: one moment for each recipient so far, in rising order.
    """
    if recipients > LIMIT:
        return None
    counting = live(sent_at, at)
    in_the_way = len(counting) + recipients - LIMIT
    return counting[in_the_way - 1] + WINDOW if in_the_way > 0 else at
