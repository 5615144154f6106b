"""Alerts: each of its own cause, none where all is well. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from leasebox.webhooks.alerts import DELIVERIES_LATE, FAN_OUT_LATE, Alert, alerts
from leasebox.webhooks.queue_store import Depth

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
WELL = Depth(5, 5, 5, AT - timedelta(seconds=2), 7, 0, 3, AT - timedelta(seconds=1), 0)


@pytest.mark.parametrize(
    ("changes", "alert"),
    [
        ({"oldest_due": AT - DELIVERIES_LATE}, Alert("deliveries_late", 5, AT - DELIVERIES_LATE)),
        ({"oldest_fact": AT - FAN_OUT_LATE}, Alert("fan_out_late", 3, AT - FAN_OUT_LATE)),
        ({"died": 2}, Alert("deliveries_dead", 2, None)),
        ({"disabled": 1}, Alert("webhooks_disabled", 1, None)),
    ],
    ids=["late", "fan-out", "dead", "disabled"],
)
def test_each_cause_is_one_alert(changes: dict[str, Any], alert: Alert) -> None:
    assert alerts(msgspec.structs.replace(WELL, **changes), AT) == [alert]


def test_none_where_all_is_well() -> None:
    assert alerts(WELL, AT) == []
    assert alerts(msgspec.structs.replace(WELL, oldest_due=None, oldest_fact=None), AT) == []
