"""SQL of the queue: who may claim what, and which statements hold when somebody else was quicker."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from leasebox.sending import queue_store as store
from leasebox.sending.queue_model import Claimed, Hop, Line
from tests.kit import House
from tests.sending.outgoing import Author, rows

TTL = timedelta(seconds=15)


@pytest.fixture
async def author(house: House) -> Author:
    return await Author.new(house)


async def claim(house: House, **how: Any) -> Claimed:
    at = house.clock.now()
    wanted = {"after": "", "live": [], "per_destination": 5, "places": 50, **how}
    return await house.db.transact(lambda tx: store.claim(tx, at, at + TTL, **wanted))


async def one(house: House, author: Author, *to: str) -> Hop:
    await author.queue(*(to or ("one@there.example",)))
    [hop] = (await claim(house)).hops
    return hop


async def hop_of(house: House, hop: Hop) -> Any:
    [row] = await rows(house, "send_hops", hop.attempt_id)
    return row


async def test_a_claim_takes_what_is_due_once(house: House, author: Author) -> None:
    attempt = await author.queue("one@there.example")
    await author.queue("two@there.example", at=house.clock.now() + timedelta(minutes=1))
    first, second = await claim(house), await claim(house)
    assert ([hop.attempt_id for hop in first.hops], second.hops) == ([attempt], ())
    [hop] = first.hops
    assert (hop.destination, hop.route, hop.number, hop.left_in) == ("there.example", "smtp", 1, "waiting")
    [row] = await rows(house, "send_attempts", attempt)
    assert (row["state"], row["size_bytes"], row["expires_at"]) == ("sending", hop.size_bytes, hop.expires_at)


async def test_it_goes_around_the_destinations_from_where_it_stopped(house: House, author: Author) -> None:
    for name in "cab":
        for number in range(3):
            await author.queue(f"n{number}@{name}.example")
    first = await claim(house, per_destination=1, places=2)
    assert ([hop.destination for hop in first.hops], first.last) == (["a.example", "b.example"], "b.example")
    second = await claim(house, per_destination=1, places=2, after=first.last)
    assert ([hop.destination for hop in second.hops], second.last) == (["c.example"], None)
    third = await claim(house, per_destination=2, places=9)
    assert [hop.destination for hop in third.hops] == ["a.example", "b.example", "c.example"], "one each is under way"


async def test_it_looks_at_so_many_destinations_and_says_where_it_stopped(house: House, author: Author) -> None:
    late = house.clock.now() + timedelta(hours=1)
    for name in "abc":
        await author.queue(f"one@{name}.example", at=late)
    due = await author.queue("one@d.example")
    first = await claim(house, scanned=2)
    assert (first.hops, first.last) == ((), "b.example")
    second = await claim(house, scanned=2, after=first.last)
    assert [hop.attempt_id for hop in second.hops] == [due]
    assert (await claim(house, scanned=2, after="d.example")).last is None


async def test_the_longest_due_goes_first(house: House, author: Author) -> None:
    now = house.clock.now()
    order = [await author.queue("one@there.example", at=now - timedelta(seconds=age)) for age in (10, 30, 20)]
    taken = [(await claim(house, places=1)).hops[0].attempt_id for _ in range(3)]
    assert taken == [order[1], order[2], order[0]]


async def test_a_claim_that_ran_out_is_anothers_unless_it_is_alive(house: House, author: Author) -> None:
    hop = await one(house, author)
    house.clock.advance(seconds=16)
    assert (await claim(house, live=[hop.claim])).hops == ()
    [again] = (await claim(house)).hops
    assert (again.attempt_id, again.number, again.left_in) == (hop.attempt_id, 1, "claimed")
    assert again.claim != hop.claim


async def test_extending_keeps_a_claim_and_only_ones_own(house: House, author: Author) -> None:
    hop = await one(house, author)
    until = house.clock.now() + timedelta(minutes=5)
    stranger = Hop(hop.attempt_id, hop.destination, "smtp", 1, UUID(int=7), 1, until)
    assert await house.db.transact(lambda tx: store.extend(tx, [hop, stranger], until)) == 1
    house.clock.advance(seconds=60)
    assert (await claim(house)).hops == ()


async def test_beginning_is_for_the_claims_owner_and_leaves_a_try_of_unknown_outcome(
    house: House, author: Author
) -> None:
    hop = await one(house, author)
    at = house.clock.now()
    assert await house.db.transact(lambda tx: store.begin(tx, hop, at, at + TTL, "mx1", [{"command": "MAIL"}]))
    assert await house.db.transact(lambda tx: store.begin(tx, hop, at, at + TTL, "mx2", [])), "the next host"
    [row] = await rows(house, "send_tries", hop.attempt_id)
    assert (row["number"], row["remote"], row["outcome"], row["ended_at"]) == (1, "mx2", "unknown", None)
    house.clock.advance(seconds=16)
    [again] = (await claim(house)).hops
    assert (again.number, again.left_in) == (2, "handing_over")
    at = house.clock.now()
    assert not await house.db.transact(lambda tx: store.begin(tx, hop, at, at + TTL, "late", []))
    [row] = await rows(house, "send_tries", hop.attempt_id)
    assert (row["remote"], row["outcome"], row["ended_at"]) == ("mx2", "unknown", again_at(house, row))


def again_at(house: House, row: Any) -> Any:
    assert abs((row["ended_at"] - house.clock.now()).total_seconds()) < 5
    return row["ended_at"]


async def test_putting_off_and_closing_need_the_claim(house: House, author: Author) -> None:
    hop = await one(house, author)
    later = house.clock.now() + timedelta(minutes=1)
    house.clock.advance(seconds=16)
    [now_theirs] = (await claim(house)).hops
    assert not await house.db.transact(lambda tx: store.put_off(tx, hop, later))
    assert not await house.db.transact(lambda tx: store.close(tx, hop))
    assert not await house.db.transact(lambda tx: store.release(tx, hop))
    assert not await house.db.transact(lambda tx: store.hold(tx, hop))
    assert await house.db.transact(lambda tx: store.hold(tx, now_theirs))
    assert await house.db.transact(lambda tx: store.put_off(tx, now_theirs, later))
    row = await hop_of(house, hop)
    assert (row["state"], row["tries"], row["next_try_at"], row["claim"]) == ("waiting", 1, later, None)


async def test_what_was_taken_is_closed_whoever_claims_it_now_but_once(house: House, author: Author) -> None:
    hop = await one(house, author)
    house.clock.advance(seconds=16)
    await claim(house)
    at = house.clock.now()

    async def settle(tx: Any) -> bool:
        return await store.settle(tx, hop, at, at, "mx1", "sent", [], [Line(0, "sent", 250, "OK")], None)

    ends = await asyncio.gather(*(house.db.transact(settle) for _ in range(8)))
    assert sorted(ends) == [False] * 7 + [True]
    assert (await hop_of(house, hop))["state"] == "done"
    assert len(await rows(house, "send_tries", hop.attempt_id)) == 1


async def test_what_may_have_been_taken_is_not_given_back(house: House, author: Author) -> None:
    hop = await one(house, author)
    at = house.clock.now()
    await house.db.transact(lambda tx: store.begin(tx, hop, at, at + TTL, "mx1", []))
    assert not await house.db.transact(lambda tx: store.release(tx, hop))
    assert (await hop_of(house, hop))["state"] == "handing_over"


async def test_a_settled_recipient_stays_as_it_is(house: House, author: Author) -> None:
    hop = await one(house, author, "one@there.example", "two@there.example")
    at = house.clock.now()

    async def note(*lines: Line) -> None:
        await house.db.transact(lambda tx: store.note(tx, hop.attempt_id, lines, at))

    await note(Line(0, "sent", 250, "OK"), Line(1, "deferred", 450, "Later"))
    await note(Line(0, "failed", 550, "No"), Line(1, "failed", None, "Given up"))
    found = await rows(house, "send_recipients", hop.attempt_id, "position")
    assert [(row["state"], row["reply_code"], row["reply_text"]) for row in found] == [
        ("sent", 250, "OK"),
        ("failed", None, "Given up"),
    ]
    cargo = await house.db.read(lambda tx: store.cargo(tx, hop, house.settings.mail_domains, house.clock.now()))
    assert cargo is not None
    assert cargo.recipients == ()


async def test_an_attempt_that_is_over_has_no_cargo(house: House, author: Author) -> None:
    hop = await one(house, author)
    await house.db.transact(lambda tx: tx.run("DELETE FROM outgoing_contents"))
    assert await house.db.read(lambda tx: store.cargo(tx, hop, house.settings.mail_domains, house.clock.now())) is None
