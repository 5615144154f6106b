"""The arithmetic of a rolling window; what an attempt's state follows from."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from leasebox.leases.inbound import Inbound
from leasebox.sending.model import REFUSALS, REPLIES, attempt_state, free_at, live

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def moments(hours: Sequence[float]) -> list[datetime]:
    return [NOON + timedelta(hours=each) for each in hours]


@pytest.mark.parametrize(
    ("sent", "at", "counting"),
    [
        ([], 0, 0),
        ([0], 0, 1),
        ([0], 23.99, 1),
        ([0], 24, 0),
        ([0, 1, 2], 25, 1),
        ([0, 1, 2], -48, 3),
        ([0, 30], 20, 1),
    ],
)
def test_what_counts(sent: Sequence[float], at: float, counting: int) -> None:
    assert len(live(moments(sent), *moments([at]))) == counting


@pytest.mark.parametrize(
    ("sent", "recipients", "at", "free"),
    [
        ([], 10, 0, 0),
        ([], 11, 0, None),
        ([0] * 9, 1, 1, 1),
        ([0] * 9, 2, 1, 24),
        ([0] * 5 + [2] * 5, 5, 3, 24),
        ([0] * 5 + [2] * 5, 6, 3, 26),
        ([0] * 10, 10, 24, 24),
        ([0] * 10, 1, -5, 24),
        ([0] * 10, 11, 30, None),
        ([0] * 4 + [30] * 6, 4, 20, 20),
        ([0] * 4 + [30] * 6, 5, 20, 54),
    ],
)
def test_when_a_message_fits(sent: Sequence[float], recipients: int, at: float, free: float | None) -> None:
    expected = None if free is None else moments([free])[0]
    assert free_at(moments(sent), recipients, *moments([at])) == expected


@pytest.mark.parametrize(
    ("recipients", "hops", "state"),
    [
        ({"queued"}, {"waiting"}, "queued"),
        ({"queued"}, {"claimed"}, "sending"),
        ({"queued"}, {"handing_over", "waiting"}, "sending"),
        ({"queued", "sent"}, {"waiting", "done"}, "sending"),
        ({"queued", "failed"}, {"waiting", "done"}, "sending"),
        ({"queued", "cancelled"}, {"waiting", "done"}, "queued"),
        ({"queued", "deferred"}, {"waiting"}, "deferred"),
        ({"deferred", "sent"}, {"waiting", "done"}, "deferred"),
        ({"deferred"}, {"claimed"}, "sending"),
        ({"sent"}, {"done"}, "sent"),
        ({"delivered"}, set(), "sent"),
        ({"sent", "failed", "cancelled"}, {"done"}, "sent"),
        ({"failed", "cancelled"}, {"done"}, "failed"),
        ({"bounced"}, {"done"}, "failed"),
        ({"bounced", "delivered"}, {"done"}, "sent"),
        ({"cancelled"}, {"done"}, "cancelled"),
    ],
)
def test_an_attempt_is_what_its_recipients_are(recipients: set[str], hops: set[str], state: str) -> None:
    assert attempt_state(recipients, hops) == state


def test_every_refusal_of_a_mailbox_has_its_reply() -> None:
    assert set(REPLIES) == set(Inbound) - {Inbound.TAKEN}
    assert {code // 100 for verdict, (code, _) in REPLIES.items() if verdict in REFUSALS} == {5}
    assert {code // 100 for verdict, (code, _) in REPLIES.items() if verdict not in REFUSALS} == {4}
