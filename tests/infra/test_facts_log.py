"""Facts commit with what they tell of, and a reader below the snapshot's horizon misses none."""

import asyncio
from datetime import timedelta

import pytest

from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, append, columns
from leasebox.values.facts import MESSAGE_RECEIVED, OTP_EXTRACTED
from leasebox.values.ids import EventId, LeaseId, MailboxId, TenantId
from tests.kit import House

BELOW = "SELECT payload ->> 'n' AS n FROM facts WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY id"


def fact(house: House, number: int) -> Fact:
    now = house.clock.now() + timedelta(milliseconds=number)
    payload = {"n": number, "of": str(LeaseId.new(now))}
    return Fact(TenantId.new(now), MailboxId.new(now), LeaseId.new(now), MESSAGE_RECEIVED, payload, now)


async def test_facts_are_kept_whole_and_in_order(house: House) -> None:
    bare = Fact(TenantId.new(house.clock.now()), None, None, OTP_EXTRACTED, {}, house.clock.now())
    happened = [fact(house, 1), fact(house, 2), bare]

    async def body(tx: Tx) -> int:
        await append(tx, happened)
        return int(await tx.value("SELECT pg_current_xact_id()::text"))

    written_by = await house.db.transact(body)
    rows = await house.db.read(lambda tx: tx.all("SELECT *, xid::text AS writer FROM facts ORDER BY at"))
    rows.sort(key=lambda row: [each.tenant_id for each in happened].index(TenantId.of(row["tenant_id"])))
    for each, row in zip(happened, rows, strict=True):
        assert (row["mailbox_id"], row["lease_id"], row["type"]) == (each.mailbox_id, each.lease_id, each.type)
        assert (row["payload"], row["at"], int(row["writer"])) == (each.payload, each.at, written_by)
        assert EventId.of(row["id"]).version == 7


async def test_facts_as_columns_are_what_append_writes(house: House) -> None:
    happened = [fact(house, 2), fact(house, 1)]
    ids, *rest = columns(happened)
    assert [tuple(row) for row in zip(*rest, strict=True)] == [
        (each.tenant_id, each.mailbox_id, each.lease_id, each.type, each.payload, each.at) for each in happened
    ]
    assert ids[0] > ids[1], "ids go by time, whatever the order"


async def test_nothing_is_appended_of_nothing(house: House) -> None:
    await house.db.transact(lambda tx: append(tx, []))
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM facts")) == 0


async def test_what_was_undone_did_not_happen(house: House) -> None:
    async def body(tx: Tx) -> None:
        await append(tx, [fact(house, 1)])
        raise LookupError

    with pytest.raises(LookupError):
        await house.db.transact(body)
    assert await house.db.read(lambda tx: tx.value("SELECT count(*) FROM facts")) == 0


async def test_a_reader_below_the_horizon_never_skips_a_late_commit(house: House) -> None:
    """A cursor over ids would: the first fact has the smaller id and is committed last."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await append(tx, [fact(house, 1)])
        begun.set()
        await may_end.wait()

    first = asyncio.create_task(house.db.transact(slow))
    await begun.wait()
    await house.db.transact(lambda tx: append(tx, [fact(house, 2)]))
    assert await house.db.read(lambda tx: tx.all("SELECT payload ->> 'n' AS n FROM facts")) != []
    assert await house.db.read(lambda tx: tx.all(BELOW)) == []
    may_end.set()
    await first
    assert [row["n"] for row in await house.db.read(lambda tx: tx.all(BELOW))] == ["1", "2"]
