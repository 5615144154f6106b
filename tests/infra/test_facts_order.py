"""Facts get their places once they are committed: none is passed over, whatever order transactions end in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from leasebox.infra import facts_order
from leasebox.infra.db import Tx, Wake
from leasebox.infra.facts_log import WAKE_NEW_FACTS, Fact, append
from leasebox.infra.facts_order import WAKE_FACTS, PublishedFact, number
from leasebox.values.facts import LEASE_EXPIRED, MESSAGE_RECEIVED, OTP_EXTRACTED, USAGE_DENIED
from leasebox.values.ids import EventId, LeaseId, MailboxId, TenantId
from tests.kit import House

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TENANT, OTHER = TenantId.new(AT), TenantId.new(AT)
BOX, BOX_2 = MailboxId.new(AT), MailboxId.new(AT)
LEASE = LeaseId.new(AT)
MIGRATION = """
DELETE FROM fact_sequence;
WITH numbered AS (
    INSERT INTO fact_positions (position, fact_id, tenant_id)
    SELECT row_number() OVER (ORDER BY at, xid, id), id, tenant_id FROM facts RETURNING position
)
INSERT INTO fact_sequence (one, next_position, seen)
SELECT 1, count(*) + 1, pg_current_snapshot()::text FROM numbered
"""


def fact(name: str, tenant: TenantId = TENANT, type_: str = MESSAGE_RECEIVED, mailbox: MailboxId | None = BOX) -> Fact:
    return Fact(tenant, mailbox, LEASE, type_, {"name": name}, AT)


async def write(house: House, *facts: Fact) -> None:
    await house.db.transact(lambda tx: append(tx, facts))


async def numbered(house: House, most: int = facts_order.BATCH) -> int:
    return await house.db.transact(lambda tx: number(tx, most))


async def told(house: House, tenant: TenantId = TENANT, position: int = 0) -> list[str]:
    facts = await house.db.read(lambda tx: facts_order.after(tx, tenant, position, 1_000))
    return [each.payload["name"] for each in facts]


@contextlib.asynccontextmanager
async def open_writer(house: House, *facts: Fact) -> AsyncIterator[None]:
    """Write facts, and commit when the context ends."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await append(tx, facts)
        begun.set()
        await may_end.wait()

    writing = asyncio.create_task(house.db.transact(slow))
    await begun.wait()
    try:
        yield
    finally:
        may_end.set()
        await writing


async def test_facts_are_numbered_from_one_in_the_order_of_their_ids(house: House) -> None:
    await write(house, *[fact(str(index)) for index in range(20)])
    assert await told(house) == []
    assert await numbered(house) == 20
    facts = await house.db.read(lambda tx: facts_order.after(tx, TENANT, 0, 100))
    assert [each.payload["name"] for each in facts] == [str(index) for index in range(20)]
    assert [each.position for each in facts] == list(range(1, 21))
    assert await numbered(house) == 0


async def test_two_transactions_that_commit_in_the_wrong_order_are_both_told(house: House) -> None:
    async with open_writer(house, fact("began first")):
        await write(house, fact("ended first"))
        assert await numbered(house) == 1
        assert await told(house) == ["ended first"]
    assert await numbered(house) == 1
    assert await told(house) == ["ended first", "began first"]


async def test_a_transaction_that_stays_open_holds_up_nobody_else(house: House) -> None:
    async with open_writer(house, fact("late")):
        for index in range(30):
            await write(house, fact(str(index)))
            assert await numbered(house) == 1
        assert await told(house) == [str(index) for index in range(30)]
    assert await numbered(house) == 1
    assert (await told(house))[-1] == "late"


async def test_each_look_goes_through_what_is_new_only(house: House) -> None:
    """Else an old transaction would make each look as long as all that was written since."""
    async with open_writer(house, fact("late")):
        await write(house, fact("1"))
        await numbered(house)
        seen = await house.db.read(lambda tx: tx.one("SELECT seen FROM fact_sequence"))
        assert seen is not None
        fresh = await house.db.read(
            lambda tx: tx.value(
                "SELECT count(*) FROM facts WHERE NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)", seen["seen"]
            )
        )
        assert fresh == 0


async def test_writers_and_numberers_at_once_lose_nothing_and_repeat_nothing(house: House) -> None:
    done = asyncio.Event()

    async def writer(number_: int) -> None:
        for index in range(25):
            if index % 5 == number_ % 5:
                async with open_writer(house, fact(f"{number_} {index}")):
                    await asyncio.sleep(0.005)
            else:
                await write(house, fact(f"{number_} {index}", OTHER if index % 2 else TENANT))

    async def numberer() -> None:
        while not done.is_set():
            await numbered(house, 7)

    async def reader() -> list[str]:
        names, position = [], 0
        while True:
            ended = done.is_set()
            part = await house.db.read(lambda tx, position=position: facts_order.after_any(tx, position, 10))  # type: ignore[misc]
            names += [each.payload["name"] for each in part.facts]
            position = part.until
            if ended and not part.looked:
                return names

    reading = asyncio.create_task(reader())
    numbering = [asyncio.create_task(numberer()) for _ in range(2)]
    await asyncio.gather(*(writer(each) for each in range(6)))
    done.set()
    await asyncio.gather(*numbering)
    await numbered(house)
    heard = await reading
    heard += [each for each in await told(house) + await told(house, OTHER) if each not in heard]
    assert sorted(heard) == sorted(f"{number_} {index}" for number_ in range(6) for index in range(25))
    positions = await house.db.read(lambda tx: tx.all("SELECT position FROM fact_positions ORDER BY position"))
    assert [row["position"] for row in positions] == list(range(1, 151))


async def test_a_second_worker_does_not_wait_for_the_first(house: House) -> None:
    await write(house, fact("1"))
    holding, may_end = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx) -> int:
        count = await number(tx)
        holding.set()
        await may_end.wait()
        return count

    first = asyncio.create_task(house.db.transact(hold))
    await holding.wait()
    async with asyncio.timeout(5):
        assert await numbered(house) == 0
    may_end.set()
    assert await first == 1
    assert await numbered(house) == 0


async def test_what_a_dead_worker_had_numbered_is_numbered_again(house: House) -> None:
    await write(house, fact("1"))

    async def die(tx: Tx) -> None:
        assert await number(tx) == 1
        raise LookupError

    with pytest.raises(LookupError):
        await house.db.transact(die)
    assert await told(house) == []
    assert await numbered(house) == 1
    assert await told(house) == ["1"]


async def test_a_burst_is_numbered_in_batches(house: House) -> None:
    for start in range(0, 20, 5):
        await write(house, *[fact(f"{start + index:02}") for index in range(5)])
    assert [await numbered(house, 8) for _ in range(4)] == [8, 8, 4, 0]
    assert await told(house) == [f"{index:02}" for index in range(20)]


async def test_a_batch_that_is_just_full_leaves_nothing_behind(house: House) -> None:
    await write(house, fact("1"), fact("2"))
    assert await numbered(house, 2) == 2
    await write(house, fact("3"))
    assert [await numbered(house, 2) for _ in range(2)] == [1, 0]
    assert await told(house) == ["1", "2", "3"]


async def test_facts_from_before_the_migration_have_places_too(house: House) -> None:
    """As the migration does it: in one statement, while somebody else is writing."""
    async with open_writer(house, fact("committed after the migration")):
        await write(house, fact("1"), fact("2"))
        for statement in MIGRATION.split(";"):
            await house.db.transact(lambda tx, sql=statement: tx.run(sql))  # type: ignore[misc]
        assert await told(house) == ["1", "2"]
        await write(house, fact("3"))
        assert await numbered(house) == 1
    assert await numbered(house) == 1
    assert await told(house) == ["1", "2", "3", "committed after the migration"]


async def test_a_database_restored_into_a_younger_cluster_is_numbered_on(house: House) -> None:
    await write(house, fact("1"))
    await numbered(house)
    await house.db.transact(lambda tx: tx.run("UPDATE fact_sequence SET seen = '900000000:900000000:'"))
    copied = """INSERT INTO facts (id, tenant_id, type, payload, at, xid)
        VALUES ($1, $2, 'message.received', '{"name": "copied"}', $3, '899999999')"""
    await house.db.transact(lambda tx: tx.run(copied, EventId.new(AT), TENANT, AT))
    await write(house, fact("2"))
    assert await numbered(house) == 2
    await write(house, fact("3"))
    assert await numbered(house) == 1
    assert sorted(await told(house)) == ["1", "2", "3", "copied"]
    assert await numbered(house) == 0


async def test_the_whole_log_is_looked_through_once_after_that(house: House) -> None:
    await house.db.transact(lambda tx: tx.run("UPDATE fact_sequence SET seen = '900000000:900000000:'"))
    assert await numbered(house) == 0
    assert await house.db.read(lambda tx: tx.value("SELECT seen FROM fact_sequence")) != "900000000:900000000:"


async def test_the_order_can_be_added_to_only(house: House) -> None:
    await write(house, fact("1"))
    await numbered(house)
    for sql in ("UPDATE fact_positions SET position = 9", "DELETE FROM fact_positions", "TRUNCATE fact_positions"):
        with pytest.raises(Exception, match="permission denied"):
            await house.db.transact(lambda tx, sql=sql: tx.run(sql))  # type: ignore[misc]
        with pytest.raises(Exception, match="never changed or removed"):
            await house.db.transact(lambda tx, sql=sql: _forced(tx, sql))  # type: ignore[misc]


async def test_new_facts_wake_the_numberer_and_numbered_ones_their_readers(house: House) -> None:
    async def writing(tx: Tx) -> list[Wake]:
        await append(tx, [fact("1"), fact("2", OTHER), fact("3")])
        return tx.wakes

    async def numbering(tx: Tx) -> list[Wake]:
        await number(tx)
        return tx.wakes

    assert await house.db.transact(writing) == [Wake(WAKE_NEW_FACTS, "")]
    wakes = await house.db.transact(numbering)
    assert {(wake.channel, wake.payload) for wake in wakes} == {
        (WAKE_FACTS, ""),
        (WAKE_FACTS, str(TENANT)),
        (WAKE_FACTS, str(OTHER)),
    }
    assert len(wakes) == 3
    assert await house.db.transact(numbering) == []


async def test_a_tenant_reads_its_own_public_facts_of_the_types_and_mailboxes_it_wants(house: House) -> None:
    await write(
        house,
        fact("a"),
        fact("theirs", OTHER),
        fact("denied", type_=USAGE_DENIED),
        fact("b", type_=OTP_EXTRACTED, mailbox=BOX_2),
        fact("c", type_=LEASE_EXPIRED, mailbox=None),
    )
    await numbered(house)

    async def names(*args: object, **which: object) -> list[str]:
        facts = await house.db.read(lambda tx: facts_order.after(tx, TENANT, 0, 100, *args, **which))  # type: ignore[arg-type]
        return [each.payload["name"] for each in facts]

    assert await names() == ["a", "b", "c"]
    assert await names([OTP_EXTRACTED]) == ["b"]
    assert await names([USAGE_DENIED]) == []
    assert await names(mailbox_ids=[BOX]) == ["a"]
    assert await names(mailbox_ids=[]) == []
    assert await told(house, OTHER) == ["theirs"]
    behind = await house.db.read(lambda tx: facts_order.before(tx, TENANT, 2**62, 2))
    assert [each.payload["name"] for each in behind] == ["c", "b"]


async def test_who_goes_on_and_on_passes_by_what_is_told_to_nobody_once(house: House) -> None:
    denied = [fact("denied", type_=USAGE_DENIED) for _ in range(5)]
    await write(house, fact("a"), fact("theirs", OTHER), *denied, fact("b"), *denied)
    await numbered(house)

    async def stretch(position: int, limit: int) -> tuple[list[str], int, int]:
        part = await house.db.read(lambda tx: facts_order.after_any(tx, position, limit))
        return [each.payload["name"] for each in part.facts], part.until, part.looked

    async def own(position: int, limit: int) -> tuple[list[str], int, int]:
        part = await house.db.read(lambda tx: facts_order.walk(tx, TENANT, position, limit))
        return [each.payload["name"] for each in part.facts], part.until, part.looked

    assert await stretch(0, 3) == (["a", "theirs"], 3, 3)
    assert await stretch(3, 100) == (["b"], 13, 10)
    assert await stretch(13, 100) == ([], 13, 0)
    assert await own(0, 4) == (["a"], 5, 4)
    assert await own(5, 100) == (["b"], 13, 8)


async def test_places_of_facts_are_a_tenants_own(house: House) -> None:
    assert await house.db.read(lambda tx: facts_order.last_position(tx, TENANT)) == 0
    assert await house.db.read(facts_order.last_position_of_any) == 0
    await write(house, fact("1"), fact("2"), fact("3", OTHER))
    await numbered(house)
    first = (await house.db.read(lambda tx: facts_order.after(tx, TENANT, 0, 1)))[0]
    assert await house.db.read(lambda tx: facts_order.position_of(tx, TENANT, first.event_id)) == first.position == 1
    assert await house.db.read(lambda tx: facts_order.position_of(tx, OTHER, first.event_id)) is None
    assert await house.db.read(lambda tx: facts_order.position_of(tx, TENANT, first.event_id, [BOX])) == 1
    assert await house.db.read(lambda tx: facts_order.position_of(tx, TENANT, first.event_id, [BOX_2])) is None
    assert await house.db.read(lambda tx: facts_order.position_of(tx, TENANT, EventId.new(AT))) is None
    assert await house.db.read(lambda tx: facts_order.last_position(tx, TENANT)) == 2
    assert await house.db.read(facts_order.last_position_of_any) == 3


def test_the_envelope_tells_whose_what_and_when() -> None:
    event = EventId.new(AT)
    published = PublishedFact(7, event, TENANT, BOX, LEASE, MESSAGE_RECEIVED, {"message_id": "msg_1"}, AT)
    assert msgspec.to_builtins(facts_order.envelope(published)) == {
        "event_id": str(event),
        "type": "message.received",
        "created_at": "2026-11-20T12:00:00Z",
        "tenant_id": str(TENANT),
        "mailbox_id": str(BOX),
        "lease_id": str(LEASE),
        "data": {"message_id": "msg_1"},
    }
    nowhere = msgspec.structs.replace(published, mailbox_id=None, lease_id=None)
    assert facts_order.envelope(nowhere).mailbox_id is None


async def _forced(tx: Tx, sql: str) -> None:
    """With the rights that the owner can give itself back."""
    await tx.run("GRANT ALL ON fact_positions TO CURRENT_USER")
    await tx.run(sql)
