"""Acts are written down with what they tell; rows and growth can be proved to somebody who has only the heads."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from leasebox.audit import merkle, service
from leasebox.audit.errors import BrokenLog, NoSuchSize, NotSealed
from leasebox.audit.heads import extends
from leasebox.values.ids import AuditId
from tests.audit.sealed import AUDIT, FACTS, KEY, ROW, STRANGE_KEY, Sealed, head_of, sealed_on

SIZES = (1, 2, 5, 8, 13)


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Sealed]:
    """13 rows under five heads, one more unsealed."""
    async with sealed_on(database_url) as sealed:
        for before, after in zip((0, *SIZES), SIZES, strict=False):
            await sealed.write(after - before)
            await sealed.seal()
        await sealed.write(1)
        yield sealed


async def test_an_act_vanishes_with_what_it_tells(log: Sealed) -> None:
    async def fails(tx: object) -> None:
        await service.record(tx, log.act(0, resource="lse_never"))  # type: ignore[arg-type]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await log.db.transact(fails)
    assert await log.raw.fetchval("SELECT count(*) FROM audit_rows WHERE resource = 'lse_never'") == 0


async def test_every_sealed_row_can_be_proved(log: Sealed) -> None:
    said = head_of(await log.note(4))
    for leaf in range(13):
        row_id = await log.row_id(leaf)
        found = await log.db.read(lambda tx, row_id=row_id: service.prove_row(tx, AUDIT, row_id))
        assert (found.leaf, head_of(found.head)) == (leaf, said)
        assert str(row_id) in found.entry.decode()
        sealed = merkle.leaf_hash(found.entry)
        assert merkle.verify_inclusion(sealed, leaf, said.size, found.proof, said.root)
        assert not merkle.verify_inclusion(merkle.leaf_hash(found.entry + b" "), leaf, 13, found.proof, said.root)


async def test_a_row_without_a_leaf_cannot_be_proved(log: Sealed) -> None:
    unsealed = await log.raw.fetchval("SELECT id FROM audit_rows ORDER BY xid DESC LIMIT 1")
    for row_id in (unsealed, AuditId.new(log.clock.now())):
        with pytest.raises(NotSealed):
            await log.db.read(lambda tx, row_id=row_id: service.prove_row(tx, AUDIT, row_id))


async def test_a_proof_of_an_edited_row_does_not_hold(log: Sealed) -> None:
    await log.tamper(f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 6}")
    row_id = await log.row_id(6)
    found = await log.db.read(lambda tx: service.prove_row(tx, AUDIT, row_id))
    head = head_of(found.head)
    assert not merkle.verify_inclusion(merkle.leaf_hash(found.entry), 6, head.size, found.proof, head.root)


async def test_every_head_extends_every_head_before(log: Sealed) -> None:
    heads = [head_of(await log.note(number)) for number in range(5)]
    for old in heads:
        for new in heads[heads.index(old) :]:
            sizes = old.size, new.size
            proof = await log.db.read(lambda tx, sizes=sizes: service.prove_extension(tx, AUDIT, *sizes))
            assert extends(old, new, proof)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5), (5, 14), (5, 2**70)])
async def test_sizes_that_the_log_never_had(log: Sealed, old: int, new: int) -> None:
    with pytest.raises(NoSuchSize):
        await log.db.read(lambda tx: service.prove_extension(tx, AUDIT, old, new))


async def test_nothing_is_proved_from_missing_leaves(log: Sealed) -> None:
    await log.tamper("DELETE FROM seal_leaves WHERE leaf = 11")
    with pytest.raises(BrokenLog):
        await log.db.read(lambda tx: service.prove_extension(tx, AUDIT, 8, 13))


async def test_a_log_that_was_never_sealed(log: Sealed) -> None:
    assert await log.db.read(lambda tx: service.newest_head(tx, FACTS)) is None
    assert await log.db.read(lambda tx: service.sealed_entries(tx, FACTS, 0, 10)) == []
    assert await log.db.read(lambda tx: service.origin(tx, FACTS, KEY)) == f"leasebox-{KEY.kid}/facts"
    with pytest.raises(NoSuchSize):
        await log.db.read(lambda tx: service.prove_extension(tx, FACTS, 1, 1))


async def test_the_newest_head_and_its_name(log: Sealed) -> None:
    assert await log.db.read(lambda tx: service.newest_head(tx, AUDIT)) == await log.note(4)
    assert await log.db.read(lambda tx: service.origin(tx, AUDIT, STRANGE_KEY)) == f"leasebox-{KEY.kid}/audit"


async def test_exported_lines_are_the_tree(log: Sealed) -> None:
    pages = [await log.db.read(lambda tx, at=at: service.sealed_entries(tx, AUDIT, at, 5)) for at in (0, 5, 10, 15)]
    assert [len(page) for page in pages] == [5, 5, 3, 0]
    rows = [row for page in pages for row in page]
    assert [leaf for leaf, _ in rows] == list(range(13))
    assert merkle.root_of(merkle.leaf_hash(line) for _, line in rows) == head_of(await log.note(4)).root


@pytest.mark.parametrize(
    "statement", [f"DELETE FROM audit_rows WHERE id = {ROW % 3}", "DELETE FROM seal_leaves WHERE leaf = 3"]
)
async def test_a_hole_is_not_exported_over(log: Sealed, statement: str) -> None:
    await log.tamper(statement)
    with pytest.raises(BrokenLog):
        await log.db.read(lambda tx: service.sealed_entries(tx, AUDIT, 0, 10))


async def test_a_proof_needs_few_leaves(log: Sealed) -> None:
    await log.write_fast(5_000)
    await log.seal()
    size = head_of(await log.db.read(lambda tx: service.newest_head(tx, AUDIT)) or "").size
    row_id = await log.row_id(3_333)
    found, extension = await asyncio.gather(
        log.db.read(lambda tx: service.prove_row(tx, AUDIT, row_id)),
        log.db.read(lambda tx: service.prove_extension(tx, AUDIT, 8, size)),
    )
    assert len(found.proof) <= size.bit_length()
    assert len(extension) <= size.bit_length() + 1
