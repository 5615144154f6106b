"""A stream apart from what carries it: places, rights, what is wanted, when it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import msgspec
import pytest

from leasebox.identity import callers
from leasebox.identity.callers import Callers
from leasebox.identity.model import Caller
from leasebox.infra import facts_order
from leasebox.infra.facts_log import Fact, append
from leasebox.infra.facts_order import PublishedFact
from leasebox.live import stream as stream_module
from leasebox.live.errors import Closing, TooManyStreams, UnknownPlace
from leasebox.live.feed import Told
from leasebox.live.stream import BEGINNING, Order, Place, Streams, Wanted, event_id_of, position_behind, require_types
from leasebox.values.errors import BadRequest, MissingScope, Unauthorized, Unavailable
from leasebox.values.facts import INVOICE_ISSUED, MESSAGE_RECEIVED, OTP_EXTRACTED, USAGE_DENIED
from leasebox.values.ids import EventId, MailboxId, TenantId
from tests import kit_mail
from tests.kit import Agent, House
from tests.live.readers import bearer, happen, publishing

shared_house = kit_mail.shared_house
BOX, OTHER_BOX = MailboxId(int=1), MailboxId(int=2)


@pytest.fixture(scope="module")
async def house(shared_house: House) -> AsyncIterator[House]:
    async with publishing(shared_house):
        yield shared_house


async def streams(house: House, agent: Agent) -> tuple[Streams, Caller]:
    known = Callers(house.db, house.clock)
    return Streams(house.db, house.clock, house.hub, known), await known.resolve(bearer(agent))


async def first(batches: AsyncIterator[Sequence[Told]], count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(20):
        async for batch in batches:
            found += [msgspec.json.decode(each.json)["data"]["name"] for each in batch]
            if len(found) >= count:
                break
    return found


async def numbered(house: House, agent: Agent, count: int) -> list[PublishedFact]:
    """Wait until so many events have their places; all of them, oldest first."""
    found: list[PublishedFact] = []
    tenant = TenantId.parse(agent.session["tenant_id"])

    async def there() -> bool:
        found[:] = await house.db.read(lambda tx: facts_order.after(tx, tenant, 0, 1_000))
        return len(found) >= count

    await kit_mail.until(there)
    return found


async def _happen_at_once(house: House, agent: Agent, count: int, mailbox: str) -> None:
    tenant, box, now = TenantId.parse(agent.session["tenant_id"]), MailboxId.parse(mailbox), house.clock.now()
    many = [Fact(tenant, box, None, MESSAGE_RECEIVED, {"name": "other"}, now) for _ in range(count)]
    await house.db.transact(lambda tx: append(tx, many))


def told(type_: str, mailbox_id: MailboxId | None) -> Told:
    return Told(1, "evt", type_, mailbox_id, None, None, b"")  # type: ignore[arg-type]


def test_what_is_wanted() -> None:
    everything, some = Wanted(), Wanted(frozenset({OTP_EXTRACTED}), frozenset({BOX}))
    assert everything.fits(told(INVOICE_ISSUED, None))
    assert some.fits(told(OTP_EXTRACTED, BOX))
    for each in (told(OTP_EXTRACTED, OTHER_BOX), told(MESSAGE_RECEIVED, BOX), told(OTP_EXTRACTED, None)):
        assert not some.fits(each)
    assert not Wanted(None, frozenset()).fits(told(OTP_EXTRACTED, BOX))


def test_ids_that_are_no_places() -> None:
    assert event_id_of(None) is None
    assert event_id_of(str(BEGINNING)) == BEGINNING
    assert str(BEGINNING) == "evt_00000000000000000000000000"
    for text in ("", "evt_", "msg_00000000000000000000000000", "evt_0000000000000000000000000O"):
        with pytest.raises(UnknownPlace):
            event_id_of(text)


def test_types_that_are_none() -> None:
    require_types([MESSAGE_RECEIVED])
    for each in ("x", USAGE_DENIED):
        with pytest.raises(BadRequest) as refused:
            require_types([MESSAGE_RECEIVED, each])
        assert MESSAGE_RECEIVED in refused.value.fix


async def test_the_place_moves_behind_what_was_given(house: House) -> None:
    agent = await house.agent()
    opener, caller = await streams(house, agent)
    stream = await opener.open(bearer(agent), caller, Order())
    assert stream.place == Place(0, str(BEGINNING))
    await happen(house, agent, "1", "2")
    async with contextlib.aclosing(stream.batches()) as batches:
        assert await first(batches, 2) == ["1", "2"]
        place = stream.place
    position = await house.db.read(lambda tx: position_behind(tx, caller, EventId.parse(place.event_id)))
    assert position <= place.position
    await happen(house, agent, "3")
    again = await opener.open(bearer(agent), caller, Order(place=place))
    async with contextlib.aclosing(again.batches()) as batches:
        assert await first(batches, 1) == ["3"]


async def test_who_may_know_some_mailboxes_only_has_a_place_among_their_events(house: House) -> None:
    agent = await house.agent()
    own, other = [await agent.lease() for _ in range(2)]
    opener, whole = await streams(house, agent)
    limited = msgspec.structs.replace(whole, mailbox_ids=frozenset({MailboxId.parse(own["mailbox_id"])}))

    async def place() -> Place:
        return (await opener.open(bearer(agent), limited, Order())).place

    async def told_behind(event_id: str) -> list[str]:
        stream = await opener.open(bearer(agent), limited, Order(last_event_id=EventId.parse(event_id)))
        async with contextlib.aclosing(stream.batches()) as batches:
            return await first(batches, 1)

    assert await place() == Place(0, str(BEGINNING))
    await happen(house, agent, "own", mailbox=own["mailbox_id"])
    events = await numbered(house, agent, 1)
    assert await place() == Place(events[-1].position, str(events[-1].event_id))
    await _happen_at_once(house, agent, 300, other["mailbox_id"])
    events = await numbered(house, agent, 301)
    between = await place()
    assert events[0].position < between.position < events[-1].position
    assert between.event_id not in {str(each.event_id) for each in events}
    await happen(house, agent, "next", mailbox=own["mailbox_id"])
    assert await told_behind(between.event_id) == ["next"]


async def test_milestones_that_are_none(house: House) -> None:
    agent = await house.agent()
    _, caller = await streams(house, agent)
    await happen(house, agent, "1")
    (one,) = await numbered(house, agent, 1)
    for each in (1, 77, (one.position // 256 + 1) * 256, 2**63 - 256, 2**63):
        last = EventId(int=each)
        with pytest.raises(UnknownPlace):
            await house.db.read(lambda tx, last=last: position_behind(tx, caller, last))  # type: ignore[misc]


def test_nobody_is_told_anything_a_second_after_the_credential_ended() -> None:
    assert callers._FRESH + timedelta(seconds=stream_module._CHECK_S) < timedelta(seconds=1)


async def test_streams_are_counted_while_they_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.live.stream.MOST_STREAMS", 1)
    agent = await house.agent()
    opener, caller = await streams(house, agent)
    stream = await opener.open(bearer(agent), caller, Order())
    late = await opener.open(bearer(agent), caller, Order())
    async with contextlib.aclosing(stream.batches()) as batches:
        assert await anext(batches) == ()
        with pytest.raises(TooManyStreams):
            await opener.open(bearer(agent), caller, Order())
        with pytest.raises(TooManyStreams):
            await anext(late.batches())
    assert opener._open == {}
    await opener.open(bearer(agent), caller, Order())


async def test_who_has_no_right_any_more_is_told_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.live.stream._CHECK_S", 0)
    agent = await house.agent()
    opener, caller = await streams(house, agent)
    with pytest.raises(Unauthorized):
        await anext((await opener.open("Bearer lb_nobody", caller, Order())).batches())

    async def without_scope(authorization: str | None) -> Caller:
        del authorization
        return msgspec.structs.replace(caller, scopes=frozenset())

    monkeypatch.setattr(opener._callers, "resolve", without_scope)
    with pytest.raises(MissingScope):
        await anext((await opener.open(bearer(agent), caller, Order())).batches())


async def test_nothing_is_lost_while_the_database_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.live.stream._CHECK_S", 0)
    agent = await house.agent()
    opener, caller = await streams(house, agent)
    stream = await opener.open(bearer(agent), caller, Order())
    whole = opener._callers.resolve

    async def away(authorization: str | None) -> Caller:
        del authorization
        raise Unavailable("away", retry_after_s=1)

    async with contextlib.aclosing(stream.batches()) as batches:
        monkeypatch.setattr(opener._callers, "resolve", away)
        await happen(house, agent, "1")
        assert await anext(batches) == ()
        monkeypatch.setattr(opener._callers, "resolve", whole)
        assert await first(batches, 1) == ["1"]


async def test_a_process_that_ends_ends_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await house.agent()
    opener, caller = await streams(house, agent)
    monkeypatch.setattr(house.hub, "closing", True)
    with pytest.raises(Closing):
        await anext((await opener.open(bearer(agent), caller, Order())).batches())
