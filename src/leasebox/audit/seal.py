"""Sealing: the next rows of a log get their leaf numbers, and a signed head over everything so far is written down.

The order of leaves is decided here and nowhere else: a sequence in the rows themselves would run ahead of commits, and
a reader would miss the row that commits late. Any number of sealers may run, anywhere, at any time: one transaction
seals a batch under an advisory lock, or leaves nothing behind.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from leasebox.audit import merkle, seal_store
from leasebox.audit.errors import BrokenLog
from leasebox.audit.heads import Head, Signer, digest, read, unchecked
from leasebox.audit.merkle import Frontier, Node
from leasebox.audit.seal_store import Leaf, StoredHead
from leasebox.audit.tables import Log, Row
from leasebox.infra.db import Tx
from leasebox.values.keys import DerivedKey


async def seal_next(tx: Tx, log: Log, key: DerivedKey, now: datetime, limit: int) -> int:
    """Seal at most `limit` rows; how many. 0 when none is ripe or another sealer is at work.

    A log whose last head another key signed gets a head by this one even if there is nothing to seal. Raises BrokenLog.
    """
    if not await seal_store.claim(tx, log):
        return 0
    last = (await seal_store.ends(tx, log)).head
    frontier = await _frontier(tx, log, last)
    rows = await _ripe(tx, log, frontier.size, limit)
    signer = Signer(origin(log, key, last), key)
    if not rows and (last is None or _signed_by(signer, last)):
        return 0
    grown = merkle.grow(frontier, (merkle.leaf_hash(log.entry(row)) for row in rows))
    if rows:
        await seal_store.add_leaves(tx, log, list(_leaves(rows, grown.nodes)))
    await seal_store.add_head(tx, log, _head(signer, grown.frontier, now, last))
    return len(rows)


def origin(log: Log, key: DerivedKey, last: StoredHead | None) -> str:
    """The name a log signs under: what its heads say; before the first, one that no other log has."""
    said = unchecked(last.note) if last else None
    return said.origin if said else f"leasebox-{key.kid}/{log.name}"


async def _frontier(tx: Tx, log: Log, last: StoredHead | None) -> Frontier:
    """The stored tree, if it is the one that the last head signed. Raises BrokenLog."""
    if last is None:
        return Frontier()
    wanted = merkle.perfect_subtrees(last.size)
    found = await seal_store.nodes(tx, log, wanted)
    said = unchecked(last.note)
    if said is not None and said.size == last.size and len(found) == len(wanted):
        frontier = Frontier(last.size, tuple(found[each] for each in wanted))
        if frontier.root() == said.root:
            return frontier
    raise BrokenLog(f"the leaves of {log.name} are not the tree of its head {last.number}: see leasebox audit verify")


async def _ripe(tx: Tx, log: Log, size: int, limit: int) -> Sequence[Row]:
    place = await seal_store.place_of(tx, log, size - 1)
    try:
        if place is None or await seal_store.is_ahead(tx, place):
            return await seal_store.ripe_anywhere(tx, log, limit)
        return await seal_store.ripe_after(tx, log, place, limit)
    except OverflowError as fault:  # asyncpg cannot say the year 20000, and we have never written it
        raise BrokenLog(f"a row of {log.name} that is to be sealed has a time that no clock shows") from fault


def _signed_by(signer: Signer, last: StoredHead) -> bool:
    return isinstance(read(last.note, [signer.verifier]), Head)


def _head(signer: Signer, frontier: Frontier, now: datetime, last: StoredHead | None) -> StoredHead:
    previous = digest(last.note) if last else None
    head = Head(signer.verifier.name, frontier.size, frontier.root(), now, previous)
    return StoredHead(last.number + 1 if last else 0, head.size, signer.sign(head))


def _leaves(rows: Sequence[Row], grown: Sequence[Node]) -> Iterator[Leaf]:
    stacks = merkle.stacked(grown)
    for number, (row, stack) in enumerate(zip(rows, stacks, strict=True), grown[0].index):
        yield Leaf(number, row["id"], stack)
