"""Sealing anew what another master key sealed, batch by batch; one way for every table that holds sealed bytes.

Each batch is a transaction of its own that locks its rows, so whoever writes them meanwhile waits or is waited for, and
a process that dies loses one batch at most: what is sealed with the current key is never looked at again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from leasebox.infra.db import Database, Tx
from leasebox.infra.seal import CannotOpen, Place, opened, seal
from leasebox.values.keys import KeyRing

BATCH = 200
# For tables with columns `kid` and `sealed`: what the one says of the key is what the other holds (form 1).
KID_CHECK = "substr(sealed, 1, 4) <> 'lbs1'::bytea OR encode(substr(sealed, 5, 4), 'hex') = kid"


class SealedRow(NamedTuple):
    """A row as it stands. key: its primary key, in order; kid: of the key that sealed it."""

    key: tuple[Any, ...]
    place: Place
    kid: str
    sealed: bytes


class SealedTable(NamedTuple):
    """A table with sealed bytes.

    counts: rows by key id. found: rows of other keys than this one behind a primary key (None: from the start), in its
    order and locked. replace: store these rows' new bytes under this key id.
    """

    name: str
    keys: KeyRing
    counts: Callable[[Tx], Awaitable[Mapping[str, int]]]
    found: Callable[[Tx, str, tuple[Any, ...] | None, int], Awaitable[Sequence[SealedRow]]]
    replace: Callable[[Tx, str, Sequence[SealedRow]], Awaitable[None]]


class Standing(NamedTuple):
    """How many rows of a table each key seals. lost: rows by the id of a key that is not at hand."""

    table: str
    current: int
    previous: int
    lost: Mapping[str, int]


class Batch(NamedTuple):
    """What became of one batch. last: where the next begins; None when there is none."""

    resealed: int
    closed: tuple[str, ...]
    last: tuple[Any, ...] | None


async def standing(tx: Tx, table: SealedTable) -> Standing:
    """Count the rows of a table by key."""
    counts = dict(await table.counts(tx))
    before = table.keys.previous
    current = counts.pop(table.keys.current.kid, 0)
    return Standing(table.name, current, counts.pop(before.kid, 0) if before else 0, counts)


async def reseal(
    db: Database, table: SealedTable, progress: Callable[[int], object] = lambda rows: None, limit: int = BATCH
) -> list[str]:
    """Seal every row of a table with the current key; why each row that stays as it is cannot be opened.

    progress is told the rows of each batch. Safe to run twice at once, and to be killed. Raises Unavailable.
    """
    after: tuple[Any, ...] | None = None
    closed: list[str] = []
    while True:
        batch = await db.transact(lambda tx, after=after: reseal_batch(tx, table, after, limit))  # type: ignore[misc]
        closed += batch.closed
        progress(batch.resealed + len(batch.closed))
        if batch.last is None:
            return closed
        after = batch.last


async def reseal_batch(tx: Tx, table: SealedTable, after: tuple[Any, ...] | None, limit: int) -> Batch:
    """Seal the next rows behind `after` with the current key."""
    rows = await table.found(tx, table.keys.current.kid, after, limit)
    fresh, closed = [], []
    for row in rows:
        try:
            clear = opened(table.keys, row.place, row.sealed, row.kid)
        except CannotOpen as fault:
            closed.append(str(fault))
        else:
            fresh.append(row._replace(sealed=seal(table.keys, row.place, clear)))
    if fresh:
        await table.replace(tx, table.keys.current.kid, fresh)
    return Batch(len(fresh), tuple(closed), rows[-1].key if len(rows) == limit else None)
