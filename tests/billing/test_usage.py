"""Usage: months, sums, and a log that misses nothing when transactions commit in the wrong order."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.billing import service, usage
from leasebox.billing.usage import LOG_START, LogPlace, month_named, month_of
from leasebox.infra.db import Database, Tx, connect
from leasebox.values.errors import BadRequest
from leasebox.values.ids import EventId
from leasebox.values.money import Usdc
from tests.billing.payer import KEYS, LEASE, READ, SEND, Payer
from tests.fakes.clock import FakeClock

NOVEMBER = month_named("2026-11")


def test_a_month_is_half_open_and_ids_follow_it() -> None:
    assert (NOVEMBER.start, NOVEMBER.end) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    first, last = EventId.new(NOVEMBER.start), EventId.new(NOVEMBER.end - timedelta(microseconds=1))
    assert NOVEMBER.first_id <= first < last < NOVEMBER.below_id <= EventId.new(NOVEMBER.end)
    assert EventId.new(NOVEMBER.start - timedelta(microseconds=1)) < NOVEMBER.first_id


def test_the_month_of_a_moment() -> None:
    assert month_of(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)) == month_named("2026-12")
    assert month_named("2026-12").end == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-1", "1999-12", "9999-01", "2026/11", "", "2026-11-01"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(BadRequest):
        month_named(text)


async def test_sums_per_meter_and_version(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    for _ in range(5):
        await payer.use(now)
    await payer.use(now, proof=await payer.text(now))
    await payer.use(now, READ)
    await payer.use(now, SEND, await payer.text(now, SEND, 3), 23)
    sums = await payer.db.read(lambda tx: usage.summary(tx, payer.caller.tenant_id, month_of(now)))
    assert [(each.meter, each.events, each.free_quantity, each.paid_quantity, each.amount) for each in sums] == [
        ("mailbox.lease", 6, 5, 1, Usdc(1_000)),
        ("message.read", 1, 1, 0, Usdc(0)),
        ("message.send", 1, 20, 3, Usdc(3_000)),
    ]
    events = await payer.db.read(lambda tx: usage.events_of(tx, payer.caller.tenant_id, month_of(now)))
    assert sum(event.amount.micros for event in events) == 4_000
    assert [event.event_id for event in events] == sorted(event.event_id for event in events)
    before = month_of(month_of(now).start - timedelta(days=1))
    assert await payer.db.read(lambda tx: usage.summary(tx, payer.caller.tenant_id, before)) == []


async def test_allowances_tell_what_is_left(payer: Payer, clock: FakeClock) -> None:
    await payer.use(clock.now())
    found = {
        each.meter: (each.used, each.limit, each.span)
        for each in await payer.db.read(lambda tx: usage.allowances(tx, payer.caller.tenant_id, clock.now()))
    }
    assert found["mailbox.lease"] == (1, 5, "hour")
    assert found["message.send"] == (0, 20, "day")
    clock.advance(hours=1)
    later = await payer.db.read(lambda tx: usage.allowances(tx, payer.caller.tenant_id, clock.now()))
    assert next(each for each in later if each.meter == "mailbox.lease").used == 0


async def read_all(db: Database, place: LogPlace) -> tuple[list[EventId], LogPlace]:
    events, behind = await db.read(lambda tx: usage.read_log(tx, place, 100))
    return [event.event_id for event in events], behind


async def test_the_log_waits_for_a_transaction_that_began_earlier(
    payer: Payer, clock: FakeClock, database_url: str
) -> None:
    """The event with the smaller id becomes visible last; a reader that had gone on by id would have missed it."""
    other = await connect(database_url)

    async def slow(tx: Tx) -> tuple[EventId, EventId, list[EventId]]:
        early = (await service.admit(tx, payer.caller, payer.demand(clock.now(), LEASE, None, 1), KEYS)).event_id
        late = (await payer.use(clock.now() + timedelta(seconds=1), READ)).event_id
        seen, _ = await read_all(payer.db, LOG_START)
        return early, late, seen

    try:
        early, late, seen = await other.transact(slow)
    finally:
        await other.close()
    assert early < late
    assert seen == []
    everything, behind = await read_all(payer.db, LOG_START)
    assert sorted(everything) == [early, late]
    assert await read_all(payer.db, behind) == ([], behind)


async def test_the_log_goes_on_from_any_place(payer: Payer, clock: FakeClock) -> None:
    made = [(await payer.use(clock.now(), READ)).event_id for _ in range(7)]
    place, seen = LOG_START, []
    while True:
        events, place = await payer.db.read(lambda tx, at=place: usage.read_log(tx, at, 3))  # type: ignore[misc]
        if not events:
            break
        seen += [event.event_id for event in events]
    assert sorted(seen) == sorted(made)
    assert len(seen) == len(made)
