"""What a claim is at a moment, and what may be wished for."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.leases.claims_model import CLAIM_TTL, Claim, ClaimId, Status, order_of
from leasebox.leases.errors import NameRefused, UnknownDomain
from leasebox.leases.model import LeasePolicy

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
POLICY = LeasePolicy(("inbox.example", "post.example"), timedelta(0), timedelta(0), 1, 1)


@pytest.mark.parametrize(
    ("state", "minutes", "status"),
    [
        ("pending", 0, "pending"),
        ("pending", 29.99, "pending"),
        ("pending", 30, "expired"),
        ("approved", 0, "approved"),
        ("approved", 60, "approved"),
        ("declined", 60, "declined"),
    ],
)
def test_the_clock_ends_what_is_pending(state: str, minutes: float, status: Status) -> None:
    ends = NOON + CLAIM_TTL
    claim = Claim(ClaimId.new(NOON), "a", "b.example", "192.0.2.1", state, None, NOON, ends, *(None,) * 6)
    assert claim.status(NOON + timedelta(minutes=minutes)) == status
    assert claim.address == "a@b.example"


def test_a_wish_in_its_one_spelling() -> None:
    order = order_of("My-Agent", None, "192.0.2.1", POLICY)
    assert (order.name, order.domain) == ("my-agent", "inbox.example")
    assert order_of("a", "POST.example", "192.0.2.1", POLICY).domain == "post.example"


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "postmaster", "é", "a" * 41, "<b>", "a@b", "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(NameRefused) as caught:
        order_of(name, None, "192.0.2.1", POLICY)
    assert "local_part" not in caught.value.fix


def test_a_domain_that_is_not_served() -> None:
    with pytest.raises(UnknownDomain):
        order_of("a", "other.example", "192.0.2.1", POLICY)
