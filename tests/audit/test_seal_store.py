"""The tables refuse every change; nodes are found where they are; places are counted off rightly."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from leasebox.audit import merkle, seal_store
from leasebox.audit.seal_store import Leaf, Place, StoredHead
from tests.audit.sealed import AUDIT, FACTS, TABLES, Sealed, sealed_on


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Sealed]:
    async with sealed_on(database_url) as sealed:
        yield sealed


CHANGES = ("UPDATE %s SET log = log", "DELETE FROM %s", "TRUNCATE %s", "TRUNCATE %s CASCADE")


async def test_the_tables_refuse_every_change(log: Sealed) -> None:
    await log.write(3)
    await log.seal()
    await log.raw.execute(
        """INSERT INTO facts (id, tenant_id, type, payload, at)
           VALUES (gen_random_uuid(), gen_random_uuid(), 'message.received', '{}', now())"""
    )
    for table in TABLES:
        await log.raw.execute(f"GRANT ALL ON {table} TO CURRENT_USER")  # or nothing would come to the triggers
        before = await log.raw.fetch(f"SELECT * FROM {table}")
        assert before
        for change in CHANGES:
            own = change.replace("log", "id") if table in ("audit_rows", "facts") else change
            with pytest.raises(asyncpg.RestrictViolationError, match=f"rows of {table} are never changed"):
                await log.raw.execute(own % table)
        assert await log.raw.fetch(f"SELECT * FROM {table}") == before


async def test_a_leaf_is_given_once_and_to_one_row(log: Sealed) -> None:
    await log.write(2)
    await log.seal()
    row = await log.row_id(0)
    fresh = row.new(log.clock.now())
    for leaf in (Leaf(1, fresh, b""), Leaf(2, row, b"")):
        with pytest.raises(asyncpg.UniqueViolationError):
            await log.db.transact(lambda tx, leaf=leaf: seal_store.add_leaves(tx, AUDIT, [leaf]))
    with pytest.raises(asyncpg.UniqueViolationError):
        await log.db.transact(lambda tx: seal_store.add_head(tx, AUDIT, StoredHead(0, 5, "fork")))
    await log.db.transact(lambda tx: seal_store.add_leaves(tx, FACTS, [Leaf(0, row, b"")]))


async def test_every_node_of_the_tree_is_found(log: Sealed) -> None:
    await log.write(11)
    await log.seal(batch=4)
    lines = [AUDIT.entry(row) for _, row in await log.db.read(lambda tx: seal_store.sealed(tx, AUDIT, 0, 11)) if row]
    wanted = {
        (each.level, each.index): each.hash
        for each in merkle.grow(merkle.Frontier(), map(merkle.leaf_hash, lines)).nodes
    }
    assert len(wanted) == 19
    assert await log.db.read(lambda tx: seal_store.nodes(tx, AUDIT, list(wanted))) == wanted
    assert await log.db.read(lambda tx: seal_store.nodes(tx, AUDIT, [(0, 11), (1, 5), (4, 0), (0, -1)])) == {}
    assert await log.db.read(lambda tx: seal_store.nodes(tx, FACTS, list(wanted))) == {}


async def test_places_are_in_the_order_of_leaves(log: Sealed) -> None:
    await log.write(4)
    await log.write(4)
    await log.seal()
    places = [await log.db.read(lambda tx, leaf=leaf: seal_store.place_of(tx, AUDIT, leaf)) for leaf in range(8)]
    known = [place for place in places if place]
    assert known == sorted(places) == sorted(known, key=lambda place: (place.xid, place.row_id.int))
    assert await log.db.read(lambda tx: seal_store.place_of(tx, AUDIT, 8)) is None


async def test_rows_are_counted_off_in_steps(log: Sealed) -> None:
    await log.write(7)
    await log.seal()
    ends = [await log.db.read(lambda tx, leaf=leaf: seal_store.place_of(tx, AUDIT, leaf)) for leaf in (2, 5, 6)]
    last, after, seen = ends[-1], None, list[Place]()
    assert last
    while after != last:
        after = await log.db.read(lambda tx, begin=after: seal_store.skip(tx, AUDIT, begin, last, 3))
        seen.append(after)
    assert seen == ends


async def test_rows_without_a_leaf_are_counted_and_found(log: Sealed) -> None:
    await log.write(3)
    await log.seal()
    await log.write(2)
    last = await log.db.read(lambda tx: seal_store.place_of(tx, AUDIT, 2))
    assert await log.db.read(lambda tx: seal_store.count_bare(tx, AUDIT, None, None)) == 2
    assert await log.db.read(lambda tx: seal_store.count_bare(tx, AUDIT, last, None)) == 2
    assert await log.db.read(lambda tx: seal_store.count_bare(tx, AUDIT, None, last)) == 0
    assert await log.db.read(lambda tx: seal_store.first_bare(tx, AUDIT, None, last)) is None
    found = await log.db.read(lambda tx: seal_store.first_bare(tx, AUDIT, None, None))
    assert found is not None
    assert last is not None
    assert found > last


async def test_a_row_comes_with_its_json_as_the_database_prints_it(log: Sealed) -> None:
    await log.write(1)
    await log.seal()
    row_id = await log.row_id(0)
    await log.tamper("""UPDATE audit_rows SET detail = '{"a":1.10,  "a":1.100}'""")
    row = await log.db.read(lambda tx: seal_store.row(tx, AUDIT, row_id))
    assert row is not None
    assert row["detail"] == '{"a": 1.100}'
    assert await log.db.read(lambda tx: seal_store.row(tx, FACTS, row_id)) is None


async def test_places_of_another_clusters_time_are_known(log: Sealed) -> None:
    await log.write(1)
    await log.seal()
    place = await log.db.read(lambda tx: seal_store.place_of(tx, AUDIT, 0))
    assert place is not None
    assert not await log.db.read(lambda tx: seal_store.is_ahead(tx, place))
    assert await log.db.read(lambda tx: seal_store.is_ahead(tx, place._replace(xid=place.xid + 10**6)))
