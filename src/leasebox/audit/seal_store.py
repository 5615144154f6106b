"""SQL of the seals: which rows are ripe, their leaves, the heads over them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from leasebox.audit.merkle import HASH_BYTES
from leasebox.audit.tables import Log, Row, seal_leaves
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Xid8

_SEALING = 0x5EA1  # any constant: the class of our advisory locks


class Place(NamedTuple):
    """Where a row stands in the order that logs are sealed in: by writing transaction, then by id."""

    xid: int
    row_id: UUID


class Leaf(NamedTuple):
    """One leaf as it is stored; `nodes` as in tables.py."""

    number: int
    row_id: UUID
    nodes: bytes


class StoredHead(NamedTuple):
    """One head as it is stored."""

    number: int
    size: int
    note: str


class Ends(NamedTuple):
    """How far a log is sealed, seen at one moment: its newest head, the lowest and the next leaf number in use."""

    head: StoredHead | None
    lowest: int
    leaves: int


_CLAIM = "SELECT pg_try_advisory_xact_lock($1, hashtext($2))"


async def claim(tx: Tx, log: Log) -> bool:
    """Be the only sealer of this log until the transaction ends; False: somebody else is."""
    return bool(await tx.value(_CLAIM, _SEALING, log.name))


_ENDS = """
SELECT h.number, h.size, h.note,
       (SELECT coalesce(min(leaf), 0) FROM seal_leaves WHERE log = $1) AS lowest,
       (SELECT coalesce(max(leaf) + 1, 0) FROM seal_leaves WHERE log = $1) AS leaves
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (SELECT * FROM seal_heads WHERE log = $1 ORDER BY number DESC LIMIT 1) AS h ON true
"""


async def ends(tx: Tx, log: Log) -> Ends:
    row = await tx.one(_ENDS, log.name)
    assert row is not None
    head = None if row["number"] is None else StoredHead(row["number"], row["size"], row["note"])
    return Ends(head, row["lowest"], row["leaves"])


_HEADS = "SELECT number, size, note FROM seal_heads WHERE log = $1 AND number >= $2 ORDER BY number LIMIT $3"


async def heads(tx: Tx, log: Log, first: int, limit: int) -> list[StoredHead]:
    """Heads in order, from a number on."""
    return [StoredHead(*row) for row in await tx.all(_HEADS, log.name, first, limit)]


_NODES = """
SELECT level, index, (SELECT substring(nodes FROM $4 * level + 1 FOR $4) FROM seal_leaves
                      WHERE log = $1 AND leaf = ((index + 1) << level) - 1) AS hash
FROM unnest($2::int[], $3::bigint[]) AS wanted (level, index)
"""


async def nodes(tx: Tx, log: Log, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The stored perfect nodes at these (level, index), one index look-up each; what is not there is left out."""
    levels, indexes = [level for level, _ in wanted], [index for _, index in wanted]
    rows = await tx.all(_NODES, log.name, levels, indexes, HASH_BYTES)
    return {(row["level"], row["index"]): row["hash"] for row in rows if row["hash"]}


_LEAF_OF = "SELECT leaf FROM seal_leaves WHERE log = $1 AND row_id = $2"


async def leaf_of(tx: Tx, log: Log, row_id: UUID) -> int | None:
    found: int | None = await tx.value(_LEAF_OF, log.name, row_id)
    return found


_ROW_OF = "SELECT row_id FROM seal_leaves WHERE log = $1 AND leaf = $2"


async def row_of(tx: Tx, log: Log, leaf: int) -> UUID | None:
    found: UUID | None = await tx.value(_ROW_OF, log.name, leaf)
    return found


async def place_of(tx: Tx, log: Log, leaf: int) -> Place | None:
    """Where the row of a leaf stands; None if leaf or row is not there."""
    table = log.table.c
    joined = seal_leaves.join(log.table, table.id == seal_leaves.c.row_id)
    found = await tx.select(select(table.xid, table.id).select_from(joined).where(*_numbered(log, leaf, leaf + 1)))
    return Place(*found[0]) if found else None


async def row(tx: Tx, log: Log, row_id: UUID) -> Row | None:
    """One row, as its entry takes it."""
    found = await tx.select(select(*_columns(log)).where(log.table.c.id == row_id))
    return found[0] if found else None


async def ripe_after(tx: Tx, log: Log, place: Place, limit: int) -> Sequence[Row]:
    """The next rows without a leaf behind a place. Only those whose transaction is below the horizon.

    Every transaction below it has ended, so nothing can become visible before these rows any more.
    """
    table = log.table.c
    ripe = and_(*_between(log, place, None), table.xid < _HORIZON, _bare(log))
    return await tx.select(select(*_columns(log)).where(ripe).order_by(table.xid, table.id).limit(limit))


async def ripe_anywhere(tx: Tx, log: Log, limit: int) -> Sequence[Row]:
    """Rows without a leaf, wherever they stand: one pass over the whole log. Those of another cluster's time first.

    A row that is visible though its transaction is still to come was copied here by pg_restore.
    """
    table = log.table.c
    ahead = table.xid >= _NEXT
    ripe = and_(~select(seal_leaves.c.leaf).where(*_leaf_of_row(log)).exists(), or_(table.xid < _HORIZON, ahead))
    return await tx.select(select(*_columns(log)).where(ripe).order_by(ahead.desc(), table.xid, table.id).limit(limit))


_IS_AHEAD = "SELECT pg_snapshot_xmax(pg_current_snapshot()) <= $1::xid8"


async def is_ahead(tx: Tx, place: Place) -> bool:
    """Whether a place belongs to another cluster's time: this one has not counted as far (see ripe_anywhere)."""
    return bool(await tx.value(_IS_AHEAD, place.xid))


_ADD_LEAVES = """
INSERT INTO seal_leaves (log, leaf, row_id, nodes)
SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::bytea[])
"""


async def add_leaves(tx: Tx, log: Log, leaves: Sequence[Leaf]) -> None:
    columns = zip(*leaves, strict=True)
    await tx.run(_ADD_LEAVES, log.name, *map(list, columns))


_ADD_HEAD = "INSERT INTO seal_heads (log, number, size, note) VALUES ($1, $2, $3, $4)"


async def add_head(tx: Tx, log: Log, head: StoredHead) -> None:
    await tx.run(_ADD_HEAD, log.name, *head)


async def sealed(tx: Tx, log: Log, begin: int, end: int) -> list[tuple[Leaf, Row | None]]:
    """Leaves [begin, end) in order, each with its row, or None where that is gone. Missing leaves are left out.

    Raises ValueError or OverflowError for a row with a time that no clock has ever shown: it was forged.
    """
    own = [seal_leaves.c[name].label(f"seal_{name}") for name in ("leaf", "row_id", "nodes")]
    joined = seal_leaves.outerjoin(log.table, log.table.c.id == seal_leaves.c.row_id)
    chosen = select(*own, *_columns(log)).select_from(joined).where(*_numbered(log, begin, end))
    rows = await tx.select(chosen.order_by(seal_leaves.c.leaf))
    return [
        (Leaf(row["seal_leaf"], row["seal_row_id"], row["seal_nodes"]), row if row["id"] is not None else None)
        for row in rows
    ]


async def skip(tx: Tx, log: Log, after: Place | None, last: Place, limit: int) -> Place:
    """The place `limit` rows further on, in the order of sealing, but no further than `last`."""
    table = log.table.c
    rows = select(table.xid, table.id).where(*_between(log, after, last)).order_by(table.xid, table.id)
    found = await tx.select(rows.offset(limit - 1).limit(1))
    return Place(*found[0]) if found else last


async def count_bare(tx: Tx, log: Log, after: Place | None, last: Place | None) -> int:
    """How many rows behind `after` and up to `last` have no leaf."""
    rows = select(func.count().label("count")).select_from(log.table).where(*_between(log, after, last), _bare(log))
    return int((await tx.select(rows))[0]["count"])


async def first_bare(tx: Tx, log: Log, after: Place | None, last: Place | None) -> Place | None:
    """The first of these rows."""
    table = log.table.c
    rows = select(table.xid, table.id).where(*_between(log, after, last), _bare(log))
    found = await tx.select(rows.order_by(table.xid, table.id).limit(1))
    return Place(*found[0]) if found else None


_SNAPSHOT = func.pg_current_snapshot()
_HORIZON: ColumnElement[int] = func.pg_snapshot_xmin(_SNAPSHOT, type_=Xid8())
_NEXT: ColumnElement[int] = func.pg_snapshot_xmax(_SNAPSHOT, type_=Xid8())


def _columns(log: Log) -> list[ColumnElement[Any]]:
    """All columns; JSONB as text, for a float would lose digits that somebody might then change unseen."""
    return [cast(each, Text).label(each.name) if isinstance(each.type, JSONB) else each for each in log.table.c]


def _numbered(log: Log, begin: int, end: int) -> list[ColumnElement[bool]]:
    return [seal_leaves.c.log == log.name, seal_leaves.c.leaf >= begin, seal_leaves.c.leaf < end]


def _leaf_of_row(log: Log) -> list[ColumnElement[bool]]:
    return [seal_leaves.c.log == log.name, seal_leaves.c.row_id == log.table.c.id]


def _bare(log: Log) -> ColumnElement[bool]:
    """That a row has no leaf: a scalar subquery is one index probe, where a join may be planned as a scan of all."""
    return select(seal_leaves.c.leaf).where(*_leaf_of_row(log)).scalar_subquery().is_(None)


def _between(log: Log, after: Place | None, last: Place | None) -> list[ColumnElement[bool]]:
    place = tuple_(log.table.c.xid, log.table.c.id)
    behind = [place > _tuple(after)] if after else []
    return behind + ([place <= _tuple(last)] if last else [])


def _tuple(place: Place) -> Any:
    return tuple_(literal(place.xid, Xid8()), literal(place.row_id))
