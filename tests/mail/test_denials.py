"""Denied domains: which senders they mean, within a second, through an outage."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.infra.db import Tx
from leasebox.mail import denials
from leasebox.mail.denials import DeniedSenders, domain_of, is_under
from leasebox.values.errors import NotFound, Unavailable
from tests.kit import House


@pytest.mark.parametrize(
    ("domain", "denied"),
    [
        ("spam.example", True),
        ("a.b.spam.example", True),
        ("xspam.example", False),
        ("example", False),
        ("spam.example.org", False),
        ("", False),
        ("[192.0.2.1]", False),
    ],
)
def test_a_domain_stands_for_all_below_it(domain: str, denied: bool) -> None:
    assert is_under(domain, {"spam.example"}) is denied


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("a@Spam.Example", "spam.example"),
        ("a+b@spam.example", "spam.example"),
        ("a@b\u00fccher.example", "xn--bcher-kva.example"),
        ("", ""),
        ("no address", ""),
        ('"x@y"@spam.example', "spam.example"),
    ],
)
def test_domains_of_senders(sender: str, domain: str) -> None:
    assert domain_of(sender) == domain


@given(st.text(max_size=300))
def test_any_text_is_judged(text: str) -> None:
    assert is_under(domain_of(text), {"spam.example"}) in {True, False}


async def change(house: House, verb: str, domain: str) -> None:
    now = house.clock.now()

    async def work(tx: Tx) -> None:
        if verb == "deny":
            await denials.deny(tx, "sender", domain, "n", actor="wallet:0x1", at=now, request_id="req")
        else:
            await denials.allow(tx, "sender", domain, actor="wallet:0x1", at=now, request_id="req")

    await house.db.transact(work)


async def test_a_process_learns_within_a_second_and_remembers_through_an_outage(house: House) -> None:
    senders = DeniedSenders(house.db, house.clock)
    assert not await senders.refuses("a@spam.example")
    await change(house, "deny", "spam.example")
    house.clock.advance(seconds=1)
    assert await senders.refuses("a@spam.example")
    assert not await senders.refuses("")

    class Gone:
        async def read(self, body: object) -> Any:
            raise Unavailable("gone")

    senders._db, there = Gone(), senders._db  # type: ignore[assignment]
    house.clock.advance(seconds=1)
    assert await senders.refuses("a@spam.example")
    senders._db = there
    await change(house, "allow", "spam.example")
    house.clock.advance(seconds=1)
    assert not await senders.refuses("a@spam.example")


async def test_what_is_not_denied_cannot_be_allowed(house: House) -> None:
    with pytest.raises(NotFound):
        await change(house, "allow", "spam.example")


async def test_denied_ones_among_some_domains_are_found(house: House) -> None:
    now = house.clock.now()

    async def body(tx: Tx) -> tuple[set[str], set[str]]:
        names = {"spam.example", "mx.spam.example", "fine.example"}
        before = await denials.among(tx, "recipient", names)
        await denials.deny(tx, "recipient", "spam.example", "", actor="test", at=now, request_id="req_test")
        await denials.deny(tx, "sender", "fine.example", "", actor="test", at=now, request_id="req_test")
        return before, await denials.among(tx, "recipient", names)

    assert await house.db.transact(body) == (set(), {"spam.example", "mx.spam.example"})
