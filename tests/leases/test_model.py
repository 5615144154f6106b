"""Names, generated names and passwords, and what a lease is at a moment."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leasebox.leases import model
from leasebox.leases.errors import LeaseEnded, MailboxFrozen, MailboxPaused, NameRefused
from leasebox.leases.model import RESERVED, Lease, generate_name, generate_password, name_of
from leasebox.values.ids import AgentId, LeaseId, MailboxId, TenantId

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def lease(**changes: Any) -> Lease:
    made: dict[str, Any] = {
        "lease_id": LeaseId.new(NOW),
        "tenant_id": TenantId.new(NOW),
        "mailbox_id": MailboxId.new(NOW),
        "agent_id": AgentId.new(NOW),
        "address": "box@inbox.leasebox.test",
        "purpose": "test",
        "metadata": {},
        "state": "active",
        "frozen_at": None,
        "started_at": NOW,
        "expires_at": NOW + HOUR,
        "released_at": None,
        "used_bytes": 0,
        "used_messages": 0,
    }
    return Lease(**(made | changes))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", "a"),
        ("7", "7"),
        ("a-b", "a-b"),
        ("a--b", "a--b"),
        ("Signup-Bot", "signup-bot"),
        ("a" * 40, "a" * 40),
        ("adminx", "adminx"),
        ("123456", "123456"),
    ],
)
def test_a_chosen_name_has_one_spelling(text: str, name: str) -> None:
    assert name_of(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-a",
        "a-",
        "-",
        "a" * 41,
        "a.b",
        "a_b",
        "a+b",
        "a b",
        "a@b",
        "a\n",
        "\na",
        "ä",
        "\uff41",
        "\u0130",
        "\u212a",
        "a\x00",
        "a/b",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(NameRefused):
        name_of(text)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_are_refused_however_they_are_spelled(name: str) -> None:
    for text in (name, name.upper()):
        with pytest.raises(NameRefused, match="reserved"):
            name_of(text)


def test_role_names_of_rfc_2142_are_reserved() -> None:
    assert {"postmaster", "abuse", "hostmaster", "webmaster", "noc", "security", "admin", "root"} <= RESERVED


def test_generated_names_are_names_and_cannot_be_guessed() -> None:
    names = {generate_name() for _ in range(2_000)}
    assert len(names) == 2_000
    assert all(name_of(name) == name for name in names)
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-[a-z2-9]{9}", name) for name in names)
    assert 9 * math.log2(len(model._ALPHABET)) >= 40
    assert not set("0o1l") & set(model._ALPHABET)


def test_the_longest_generated_name_is_still_a_name() -> None:
    longest = f"{max(model._ADJECTIVES, key=len)}-{max(model._NOUNS, key=len)}-{'x' * 9}"
    assert name_of(longest) == longest


def test_passwords_differ_and_hide_themselves() -> None:
    first, second = generate_password(), generate_password()
    assert first.reveal() != second.reveal()
    assert re.fullmatch(r"(?:[a-z2-9]{6}-){3}[a-z2-9]{6}", first.reveal())
    assert first.reveal() not in repr(first)


@pytest.mark.parametrize(
    ("changes", "at", "status"),
    [
        ({}, NOW, "active"),
        ({}, NOW + HOUR - timedelta(microseconds=1), "active"),
        ({}, NOW + HOUR, "expired"),
        ({"state": "paused"}, NOW, "paused"),
        ({"state": "paused"}, NOW + HOUR, "expired"),
        ({"frozen_at": NOW}, NOW, "frozen"),
        ({"state": "paused", "frozen_at": NOW}, NOW, "frozen"),
        ({"frozen_at": NOW}, NOW + HOUR, "expired"),
        ({"state": "released", "expires_at": NOW}, NOW, "released"),
        ({"state": "released", "expires_at": NOW}, NOW + 100 * HOUR, "released"),
    ],
)
def test_the_clock_says_what_a_lease_is(changes: dict[str, Any], at: datetime, status: str) -> None:
    assert lease(**changes).status(at) == status


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"state": "released"}, LeaseEnded),
        ({"expires_at": NOW}, LeaseEnded),
        ({"frozen_at": NOW}, MailboxFrozen),
        ({"state": "paused"}, MailboxPaused),
    ],
)
def test_only_an_active_lease_is_active(changes: dict[str, Any], refusal: type[Exception]) -> None:
    lease().require_active(NOW)
    with pytest.raises(refusal):
        lease(**changes).require_active(NOW)


def test_a_freeze_outlives_the_lease() -> None:
    lease(state="paused").require_unfrozen()
    with pytest.raises(MailboxFrozen):
        lease(frozen_at=NOW, expires_at=NOW - HOUR).require_unfrozen()


@pytest.mark.parametrize(
    ("hours", "minutes_before"), [(1 / 6, 1), (0.5, 3), (5 / 6, 5), (1, 5), (24, 5), (720, 5)], ids=str
)
def test_a_lease_is_about_to_end_after_nine_tenths_but_five_minutes_before_at_most(
    hours: float, minutes_before: float
) -> None:
    until = NOW + timedelta(hours=hours)
    assert until - model.expiring_at(NOW, until) == timedelta(minutes=minutes_before)
