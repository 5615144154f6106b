"""The guarded counter of a mailbox's day, and what the rows themselves hold."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from leasebox.sending import attempts_store as store
from tests.kit import House
from tests.kit_mail import change, shared_house
from tests.sending.writing_desk import Writer, attempt_id

__all__ = ["shared_house"]


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


async def count(ann: Writer, recipients: int, limit: int, days: float = 0) -> bool:
    at = ann.house.clock.now() + timedelta(days=days)
    return await ann.house.db.transact(lambda tx: store.count(tx, ann.mailbox_id, ann.tenant_id, at, recipients, limit))


async def counted(ann: Writer, days: float = 0) -> tuple[int, int]:
    at = ann.house.clock.now() + timedelta(days=days)
    (row,) = await ann.house.db.read(lambda tx: store.counters(tx, ann.tenant_id, [ann.mailbox_id], at))
    return row["sends_today"], row["total_sent"]


async def test_of_many_at_once_no_more_than_the_limit_is_counted(ann: Writer) -> None:
    outcomes = await asyncio.gather(*(count(ann, 3, 10) for _ in range(12)))
    assert sorted(outcomes) == [False] * 9 + [True] * 3
    assert await counted(ann) == (9, 9)
    assert await count(ann, 1, 10)


async def test_a_message_that_never_fits_leaves_no_row(ann: Writer) -> None:
    assert not await count(ann, 11, 10)
    at = ann.house.clock.now()
    assert await ann.house.db.read(lambda tx: store.counters(tx, ann.tenant_id, [ann.mailbox_id], at)) == []


async def test_a_limit_of_its_own_goes_before_the_instances(ann: Writer) -> None:
    at = ann.house.clock.now()
    await ann.house.db.transact(lambda tx: store.set_limit(tx, ann.mailbox_id, 20, at))
    assert await count(ann, 15, 10)
    assert not await count(ann, 6, 10)
    assert await counted(ann) == (15, 15)


async def test_a_day_begins_at_midnight_and_no_clock_brings_one_back(ann: Writer) -> None:
    assert await count(ann, 10, 10)
    assert await counted(ann, days=1) == (0, 10)
    assert await count(ann, 7, 10, days=1)
    assert not await count(ann, 4, 10), "another process's clock is behind: it is still the later day"
    assert await counted(ann, days=1) == (7, 17)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE send_attempts SET state = 'lost' WHERE id = $1",
        "UPDATE send_recipients SET state = 'lost' WHERE attempt_id = $1",
        "UPDATE send_recipients SET kind = 'from' WHERE attempt_id = $1",
        "UPDATE send_hops SET state = 'lost' WHERE attempt_id = $1",
        "UPDATE send_hops SET route = 'pigeon' WHERE attempt_id = $1",
    ],
)
async def test_a_row_holds_no_other_word(ann: Writer, sql: str) -> None:
    told = await ann.send()
    with pytest.raises(asyncpg.CheckViolationError):
        await change(ann.house, sql, attempt_id(told))
