"""Whether mail for a lease is taken: its state by the clock, and its quota to the last byte."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leasebox.leases.inbound import Inbound, QuotaLedger, Route, judge
from leasebox.leases.model import LeasePolicy
from leasebox.values.ids import LeaseId, MailboxId, TenantId

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
POLICY = LeasePolicy(("inbox.leasebox.test",), timedelta(hours=72), timedelta(days=90), 1_000, 3)


def route(**changes: Any) -> Route:
    made: dict[str, Any] = {
        "lease_id": LeaseId.new(NOW),
        "tenant_id": TenantId.new(NOW),
        "mailbox_id": MailboxId.new(NOW),
        "state": "active",
        "frozen_at": None,
        "expires_at": NOW + timedelta(hours=1),
        "used_bytes": 0,
        "used_messages": 0,
    }
    return Route(**(made | changes))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Inbound.TAKEN),
        ({"state": "released"}, Inbound.ENDED),
        ({"expires_at": NOW}, Inbound.ENDED),
        ({"expires_at": NOW + timedelta(microseconds=1)}, Inbound.TAKEN),
        ({"frozen_at": NOW}, Inbound.FROZEN),
        ({"frozen_at": NOW, "expires_at": NOW}, Inbound.ENDED),
        ({"state": "paused"}, Inbound.PAUSED),
        ({"state": "paused", "frozen_at": NOW}, Inbound.FROZEN),
        ({"state": "paused", "expires_at": NOW}, Inbound.ENDED),
        ({"used_bytes": 999, "used_messages": 2}, Inbound.TAKEN),
        ({"used_bytes": 1_000}, Inbound.OVER_QUOTA),
        ({"used_messages": 3}, Inbound.OVER_QUOTA),
    ],
)
def test_a_lease_is_judged_by_state_clock_and_quota(changes: dict[str, Any], verdict: Inbound) -> None:
    assert judge(route(**changes), POLICY, NOW) is verdict


@pytest.mark.parametrize(
    ("used", "size", "verdict"),
    [
        (0, 1_000, Inbound.TAKEN),
        (0, 1_001, Inbound.OVER_QUOTA),
        (400, 600, Inbound.TAKEN),
        (400, 601, Inbound.OVER_QUOTA),
        (999, 0, Inbound.TAKEN),
        (1_000, 0, Inbound.OVER_QUOTA),
    ],
)
def test_a_mail_of_known_size_must_fit(used: int, size: int, verdict: Inbound) -> None:
    assert judge(route(used_bytes=used), POLICY, NOW, size) is verdict


def test_an_address_that_nobody_leased_is_unknown() -> None:
    assert judge(None, POLICY, NOW) is Inbound.UNKNOWN
    assert QuotaLedger({}, POLICY, NOW).take(["x@inbox.leasebox.test"], 1) is Inbound.UNKNOWN


def test_mails_of_a_group_count_against_one_another() -> None:
    ledger = QuotaLedger({"a": (box := route())}, POLICY, NOW)
    verdicts = [ledger.take(["a"], size) for size in (600, 401, 400, 1)]
    assert verdicts == [(box,), Inbound.OVER_QUOTA, (box,), Inbound.OVER_QUOTA]
    assert ledger.taken() == [(box.lease_id, 1_000, 2)]


def test_the_number_of_mails_is_bounded_too() -> None:
    ledger = QuotaLedger({"a": (box := route(used_messages=1))}, POLICY, NOW)
    assert [ledger.take(["a"], 1) for _ in range(3)] == [(box,), (box,), Inbound.OVER_QUOTA]
    assert ledger.taken() == [(box.lease_id, 2, 2)]


def test_a_mail_is_taken_for_all_of_its_addresses_or_for_none() -> None:
    free, full = route(), route(used_bytes=999)
    ledger = QuotaLedger({"free": free, "full": full, "ended": route(expires_at=NOW)}, POLICY, NOW)
    assert ledger.take(["free", "full"], 2) is Inbound.OVER_QUOTA
    assert ledger.take(["free", "ended"], 1) is Inbound.ENDED
    assert ledger.take(["free", "nobody"], 1) is Inbound.UNKNOWN
    assert ledger.taken() == []
    assert ledger.take(["free", "full"], 1) == (free, full)
    assert sorted(ledger.taken()) == sorted([(free.lease_id, 1, 1), (full.lease_id, 1, 1)])
