"""Sealing anew: in batches, past what cannot be opened, beside whoever writes, and again after a death."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from leasebox.infra import kept_answers
from leasebox.infra.db import Tx
from leasebox.infra.kept_answers import KeptAnswer, place_of, sealed_answers
from leasebox.infra.reseal import SealedTable, Standing, reseal, reseal_batch, standing
from leasebox.infra.seal import opened, seal
from leasebox.values.ids import TenantId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.values.secret import Secret
from tests.kit import House

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, NEW = Secret("o" * 40), Secret("n" * 40)
BEFORE = ring(OLD, None, Purpose.KEPT_ANSWER)
CHANGING = ring(NEW, OLD, Purpose.KEPT_ANSWER)
AFTER = ring(NEW, None, Purpose.KEPT_ANSWER)
PRINT = b"f" * 32


async def keep(house: House, tenant: TenantId, key: str, keys: KeyRing, text: bytes) -> None:
    answer = KeptAnswer(PRINT, 201, keys.current.kid, seal(keys, place_of(tenant, key, PRINT), text))
    await house.db.transact(lambda tx: kept_answers.keep(tx, tenant, key, answer, NOW))


async def keep_many(house: House, count: int) -> dict[tuple[TenantId, str], bytes]:
    tenants = [TenantId.new(NOW + timedelta(seconds=n)) for n in range(3)]
    texts = {(tenants[n % 3], f"key-{n}"): f"answer {n}".encode() for n in range(count)}
    for (tenant, key), text in texts.items():
        await keep(house, tenant, key, BEFORE, text)
    return texts


async def read(house: House, keys: KeyRing) -> dict[tuple[TenantId, str], bytes]:
    rows = await house.db.read(lambda tx: tx.all("SELECT * FROM kept_answers"))
    return {
        (TenantId.of(row["tenant_id"]), row["key"]): opened(
            keys, place_of(row["tenant_id"], row["key"], PRINT), row["sealed"], row["kid"]
        )
        for row in rows
    }


async def counted(house: House, table: SealedTable) -> Standing:
    return await house.db.read(lambda tx: standing(tx, table))


@pytest.mark.parametrize("rows", [0, 1, 6, 7, 8, 21])
async def test_every_row_once_whatever_the_size_of_the_batches(house: House, rows: int) -> None:
    texts, told = await keep_many(house, rows), list[int]()
    table = sealed_answers(CHANGING)
    assert await counted(house, table) == Standing("kept_answers", 0, rows, {})
    assert await reseal(house.db, table, told.append, 7) == []
    assert sum(told) == rows
    assert max(told) <= 7
    assert await counted(house, sealed_answers(AFTER)) == Standing("kept_answers", rows, 0, {})
    assert await read(house, AFTER) == texts


async def test_what_cannot_be_opened_is_named_and_passed_over(house: House) -> None:
    texts = await keep_many(house, 5)
    stranger = ring(Secret("s" * 40), None, Purpose.KEPT_ANSWER)
    (lost, moved, spoilt), sound = sorted(texts)[:3], sorted(texts)[3:]
    await keep(house, *lost, stranger, b"lost")
    await house.db.transact(
        lambda tx: tx.run(
            "UPDATE kept_answers SET sealed = (SELECT sealed FROM kept_answers WHERE key = $1) WHERE key = $2",
            sound[0][1],
            moved[1],
        )
    )
    await house.db.transact(lambda tx: tx.run("UPDATE kept_answers SET sealed = 'x' WHERE key = $1", spoilt[1]))
    closed = await reseal(house.db, sealed_answers(CHANGING), limit=2)
    assert sorted(each.partition("it ")[2][:30] for each in closed) == [
        "is not what was sealed for thi",
        "is not what was sealed for thi",
        "was sealed with a key that is ",
    ]
    assert f"key {stranger.current.kid}" in "".join(closed)
    found = await counted(house, sealed_answers(CHANGING))
    assert found == Standing("kept_answers", 2, 2, {stranger.current.kid: 1})
    assert await counted(house, sealed_answers(BEFORE)) == Standing(
        "kept_answers", 2, 0, {stranger.current.kid: 1, AFTER.current.kid: 2}
    )


async def test_a_death_between_two_batches_costs_nothing(house: House) -> None:
    texts = await keep_many(house, 9)
    table = sealed_answers(CHANGING)
    batch = await house.db.transact(lambda tx: reseal_batch(tx, table, None, 4))
    assert (batch.resealed, batch.closed, batch.last is not None) == (4, (), True)

    async def dies(tx: Tx) -> None:
        await reseal_batch(tx, table, batch.last, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await house.db.transact(dies)
    assert await counted(house, table) == Standing("kept_answers", 4, 5, {})
    assert await read(house, CHANGING) == texts, "old and new open alike meanwhile"
    assert await reseal(house.db, table, limit=4) == []
    assert await read(house, AFTER) == texts


async def test_beside_writers_nothing_is_lost_and_nothing_is_overwritten(house: House) -> None:
    """Rows are made, made anew and forgotten by whoever knows both keys, while two processes seal everything anew."""
    texts = await keep_many(house, 120)
    table, latest, writing = sealed_answers(CHANGING), dict(texts), True

    async def writer(number: int) -> None:
        mine = sorted(texts)[number::4]
        for turn, (tenant, key) in enumerate(mine * 3):
            text = f"{number}:{turn}".encode()
            await keep(house, tenant, key, (BEFORE, CHANGING)[turn % 2], text)
            latest[tenant, key] = text

    async def resealer() -> None:
        while writing:
            assert await reseal(house.db, table, limit=10) == []

    sealing = [asyncio.create_task(resealer()) for _ in range(2)]
    await asyncio.gather(*(writer(number) for number in range(4)))
    writing = False
    await asyncio.gather(*sealing)
    assert await reseal(house.db, table) == []
    assert await read(house, AFTER) == latest
    assert await counted(house, table) == Standing("kept_answers", 120, 0, {})


async def test_a_row_says_of_its_key_what_its_bytes_say(house: House) -> None:
    """Whether the previous key may go is decided by the column."""
    await keep_many(house, 1)
    for statement in (
        f"UPDATE kept_answers SET kid = '{AFTER.current.kid}'",
        "UPDATE kept_answers SET sealed = 'lbs1' || substr(sealed, 6)",
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="kept_answers_kid_check"):
            await house.db.transact(lambda tx, statement=statement: tx.run(statement))  # type: ignore[misc]
    assert await counted(house, sealed_answers(CHANGING)) == Standing("kept_answers", 0, 1, {})
