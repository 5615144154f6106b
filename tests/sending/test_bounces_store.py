"""SQL of what comes back: which news changes which state, also when two tell of it at once."""

import asyncio

import pytest

from leasebox.sending import bounces_store
from leasebox.sending.dsn import Outcome
from leasebox.values.ids import SendAttemptId
from tests.kit import House
from tests.kit_mail import change
from tests.sending.outgoing import Author
from tests.sending.returns import recipients

ANN = "ann@far.example"
STATES = ("queued", "sent", "delivered", "deferred", "failed", "bounced", "cancelled")
AFTER = {
    Outcome.FAILED: ("bounced", "bounced", "bounced", "bounced", "failed", "bounced", "cancelled"),
    Outcome.DELIVERED: ("delivered", "delivered", "delivered", "delivered", "failed", "bounced", "cancelled"),
    Outcome.DELAYED: STATES,
    Outcome.RELAYED: STATES,
    Outcome.EXPANDED: STATES,
}


@pytest.fixture
async def author(house: House) -> Author:
    return await Author.new(house)


async def note(house: House, attempt_id: SendAttemptId, outcome: Outcome) -> bool:
    at = house.clock.now()
    return await house.db.transact(lambda tx: bounces_store.note(tx, attempt_id, 0, outcome, 550, "x", at))


@pytest.mark.parametrize("outcome", Outcome)
async def test_what_news_changes(house: House, author: Author, outcome: Outcome) -> None:
    for before, after in zip(STATES, AFTER[outcome], strict=True):
        attempt_id = await author.queue(ANN)
        await change(house, "UPDATE send_recipients SET state = $2 WHERE attempt_id = $1", attempt_id, before)
        changed = await note(house, attempt_id, outcome)
        assert await recipients(house, attempt_id) == [(ANN, after)]
        assert changed or before == after


async def test_of_two_who_tell_the_same_one_changes_it(house: House, author: Author) -> None:
    attempt_id = await author.queue(ANN)
    told = await asyncio.gather(*(note(house, attempt_id, Outcome.FAILED) for _ in range(8)))
    assert sum(told) == 1


@pytest.mark.parametrize(("positions", "first"), [([], 1), ([0, 1], 2)], ids=["nobody named", "both named"])
async def test_of_many_who_tell_of_a_complaint_one_has_news(
    house: House, author: Author, positions: list[int], first: int
) -> None:
    attempt_id, at = await author.queue(ANN, "bob@far.example"), house.clock.now()

    async def told() -> int:
        return await house.db.transact(lambda tx: bounces_store.complain(tx, attempt_id, positions, at))

    assert sorted(await asyncio.gather(*(told() for _ in range(8)))) == [*[0] * 7, first]
    other = await author.queue(ANN, "bob@far.example")
    assert await house.db.transact(lambda tx: bounces_store.complain(tx, other, positions, at)) == first


async def test_the_attempt_and_its_people(house: House, author: Author) -> None:
    attempt_id = await author.queue("Ann@far.example", "bob+x@far.example")
    attempt = await house.db.read(lambda tx: bounces_store.attempt(tx, attempt_id))
    assert attempt is not None
    assert (attempt.tenant_id, attempt.sender, str(attempt.lease_id)) == (
        author.tenant_id,
        author.address,
        author.lease["lease_id"],
    )
    people = await house.db.transact(lambda tx: bounces_store.lock_recipients(tx, attempt_id))
    assert [(each.position, each.key) for each in people] == [(0, ANN), (1, "bob+x@far.example")]
    gone = SendAttemptId.new(house.clock.now())
    assert await house.db.read(lambda tx: bounces_store.attempt(tx, gone)) is None
