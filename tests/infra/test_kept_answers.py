"""Kept answers in the database: claimed by one at a time, found by all after the commit, gone after a day."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from leasebox.infra import kept_answers
from leasebox.infra.db import Database, Tx, connect
from leasebox.infra.kept_answers import KEPT_FOR, Claim, KeptAnswer
from leasebox.values.ids import TenantId

NOW = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
TENANT, OTHER = TenantId.new(NOW), TenantId.new(NOW)
ANSWER = KeptAnswer(b"f" * 32, 201, "00000000", b"sealed")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await connect(database_url)
    yield database
    await database.close()


async def claim(
    db: Database, key: str = "k", tenant: TenantId = TENANT, at: datetime = NOW
) -> tuple[Claim, KeptAnswer | None]:
    return await db.transact(lambda tx: kept_answers.claim(tx, tenant, key, at))


async def keep(db: Database, answer: KeptAnswer = ANSWER, at: datetime = NOW) -> None:
    await db.transact(lambda tx: kept_answers.keep(tx, TENANT, "k", answer, at))


async def test_a_key_is_fresh_until_an_answer_is_kept(db: Database) -> None:
    assert await claim(db) == (Claim.FRESH, None)
    assert await claim(db) == (Claim.FRESH, None)
    await keep(db)
    assert await claim(db) == (Claim.KEPT, ANSWER)


async def test_keys_are_each_tenants_own(db: Database) -> None:
    await keep(db)
    assert await claim(db, tenant=OTHER) == (Claim.FRESH, None)
    assert await claim(db, key="K") == (Claim.FRESH, None)


async def test_who_comes_while_it_runs_is_told_so_at_once(db: Database) -> None:
    async def first(tx: Tx) -> tuple[Claim, Claim]:
        mine, _ = await kept_answers.claim(tx, TENANT, "k", NOW)
        theirs, _ = await asyncio.wait_for(claim(db), 2)
        assert (await claim(db, tenant=OTHER))[0] is Claim.FRESH
        await kept_answers.keep(tx, TENANT, "k", ANSWER, NOW)
        return mine, theirs

    assert await db.transact(first) == (Claim.FRESH, Claim.RUNNING)
    assert (await claim(db))[0] is Claim.KEPT


async def test_a_transaction_that_is_rolled_back_leaves_nothing(db: Database) -> None:
    async def fails(tx: Tx) -> None:
        await kept_answers.claim(tx, TENANT, "k", NOW)
        await kept_answers.keep(tx, TENANT, "k", ANSWER, NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.transact(fails)
    assert await claim(db) == (Claim.FRESH, None)


async def test_an_answer_is_kept_for_a_day(db: Database) -> None:
    await keep(db)
    assert (await claim(db, at=NOW + KEPT_FOR - timedelta(microseconds=1)))[0] is Claim.KEPT
    assert (await claim(db, at=NOW + KEPT_FOR))[0] is Claim.FRESH
    later = KeptAnswer(b"g" * 32, 200, "00000000", b"again")
    await keep(db, later, NOW + KEPT_FOR)
    assert await claim(db, at=NOW + KEPT_FOR) == (Claim.KEPT, later)


async def test_what_is_over_is_forgotten(db: Database) -> None:
    await keep(db)
    assert await db.transact(lambda tx: kept_answers.forget(tx, NOW + timedelta(hours=23))) == 0
    assert await db.transact(lambda tx: kept_answers.forget(tx, NOW + KEPT_FOR)) == 1
