"""Alerts of webhooks: what an operator should look at now. Pure.

An alert is a state, not an event: it stands while what it tells of lasts, or for a day after it happened.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from leasebox.webhooks.queue_store import Depth

AlertName = Literal["deliveries_late", "fan_out_late", "deliveries_dead", "webhooks_disabled"]
LATELY = timedelta(days=1)
DELIVERIES_LATE, FAN_OUT_LATE = timedelta(minutes=1), timedelta(seconds=15)


class Alert(msgspec.Struct, frozen=True):
    """What is wrong, with how many; since: when it began to be, where that is known."""

    alert: AlertName
    count: int
    since: datetime | None


def alerts(depth: Depth, at: datetime) -> list[Alert]:
    """What stands out; nothing where all is well. depth: with what happened within LATELY."""
    found = []
    if depth.oldest_due is not None and at - depth.oldest_due >= DELIVERIES_LATE:
        found.append(Alert("deliveries_late", depth.due, depth.oldest_due))
    if depth.oldest_fact is not None and at - depth.oldest_fact >= FAN_OUT_LATE:
        found.append(Alert("fan_out_late", depth.facts, depth.oldest_fact))
    if depth.died:
        found.append(Alert("deliveries_dead", depth.died, None))
    if depth.disabled:
        found.append(Alert("webhooks_disabled", depth.disabled, None))
    return found
