"""Whether a log is still what was sealed: every row, leaf, tree node and head is looked at again, in order, in pages.

What stands here decides nothing by what the database says of itself: a row must hash to its leaf, the leaves to the
stored tree, the tree to every head, each head must name the one before it, and the newest must be signed by a key that
is trusted. Whoever rewrites all of that, with the key, still fails against a head that was exported before.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar
from uuid import UUID

from leasebox.audit import merkle, seal_store
from leasebox.audit.heads import Head, HeadFault, Verifier, digest, read, unchecked
from leasebox.audit.merkle import Frontier
from leasebox.audit.seal_store import Ends, Leaf, Place, StoredHead
from leasebox.audit.tables import Log, Row
from leasebox.infra.db import Database, Tx
from leasebox.values.clock import rfc3339

T = TypeVar("T")
P = ParamSpec("P")
_LEAVES = 2_000
_HEADS = 500
_ROWS = 50_000

_STORED, _GIVEN = "the stored head", "the head that you gave"

Progress = Callable[[int, int], None]
"""Told how many leaves of how many are done."""


class Wrong(NamedTuple):
    """The first thing that is wrong: which leaf or row it shows at, where there is one, and what it is."""

    log: str
    leaf: int | None
    row: str | None
    what: str


class Figures(NamedTuple):
    """A log in which nothing is wrong. rows: all of them; unsealed: those still waiting for a leaf."""

    log: str
    rows: int
    leaves: int
    heads: int
    root: bytes
    sealed_at: datetime | None
    unsealed: int


class Exported(NamedTuple):
    """A head that was kept outside, with its very text."""

    note: str
    head: Head


_Slot = tuple[Leaf, Row | None] | None
"""What stands at a leaf number: the leaf and its row, either of which may be gone."""


class _Found(Exception):
    def __init__(self, wrong: Wrong) -> None:
        self.wrong = wrong


async def verify(
    db: Database, log: Log, trusted: Sequence[bytes], exported: Sequence[Exported], progress: Progress
) -> Figures | Wrong:
    """Look at the whole log again: about log-size work, bounded memory, no lock, while sealing goes on.

    trusted: public keys (32 bytes) of which one must have signed the newest head. exported: heads of this log, their
    signatures checked already. Raises Unavailable.
    """
    try:
        return await _Walk(db, log, trusted, exported, progress).run()
    except _Found as found:
        return found.wrong


class _Walk:
    """One pass over one log."""

    def __init__(
        self, db: Database, log: Log, trusted: Sequence[bytes], exported: Sequence[Exported], progress: Progress
    ) -> None:
        self._db = db
        self._log = log
        self._trusted = trusted
        self._given = exported
        self._kept = sorted(exported, key=lambda each: each.head.size)
        self._missed = {each.note for each in exported}
        self._progress = progress
        self._frontier = Frontier()
        self._ahead: list[_Slot] = []  # read but not taken yet: heads may be closer to each other than pages
        self._vouched = {_STORED: 0, _GIVEN: 0}  # up to which size a head of each kind has agreed
        self._last: Place | None = None

    async def run(self) -> Figures:
        ends = await self._ask(seal_store.ends)
        newest = await self._follow_heads(ends)
        await self._judge_ends(ends)
        unsealed = await self._count_unsealed()
        heads, sealed_at = (ends.head.number + 1, newest.sealed_at) if ends.head and newest else (0, None)
        size, root = self._frontier.size, self._frontier.root()
        return Figures(self._log.name, size + unsealed, size, heads, root, sealed_at, unsealed)

    async def _follow_heads(self, ends: Ends) -> Head | None:
        """From head to head: read the leaves up to its size, compare the roots."""
        size = ends.head.size if ends.head else 0
        head = None
        async for stored, head in self._heads(ends.head):
            while self._kept and self._kept[0].head.size <= head.size:
                await self._grow_to(self._kept.pop(0).head, _GIVEN, size)
            await self._grow_to(head, _STORED, size)
            self._missed.discard(stored.note)
        return head

    async def _heads(self, newest: StoredHead | None) -> AsyncIterator[tuple[StoredHead, Head]]:
        """Every head to the newest one, checked as a link of the chain."""
        before: StoredHead | None = None
        said: Head | None = None
        while newest and (before is None or before.number < newest.number):
            first = before.number + 1 if before else 0
            page = await self._ask(seal_store.heads, first, _HEADS)
            for stored in page[: newest.number + 1 - first]:
                said = self._link(stored, before, said, newest)
                before = stored
                yield stored, said
            if not page:
                raise self._wrong(f"head {first} was deleted")

    def _link(self, stored: StoredHead, before: StoredHead | None, said: Head | None, newest: StoredHead) -> Head:
        number = before.number + 1 if before else 0
        if stored.number != number:
            raise self._wrong(f"head {number} was deleted")
        head = unchecked(stored.note)
        if head is None or head.size != stored.size:
            raise self._wrong(f"head {number} is no head of its size any more: it was edited")
        if head.previous != (digest(before.note) if before else None):
            raise self._wrong(f"head {number} does not follow on head {number - 1}: one of them was replaced")
        if said and (head.origin != said.origin or head.size < said.size):
            raise self._wrong(f"head {number} is of another log or smaller than the head before it")
        fault = self._signature_fault(stored.note, head)
        if fault is HeadFault.UNKNOWN_KEY and stored.number < newest.number:
            fault = None  # of a retired key: the newest head vouches for it, by the chain
        if fault:
            raise self._wrong(f"head {number} is not signed by a key of ours: {fault.value}")
        return head

    def _signature_fault(self, note: str, head: Head) -> HeadFault | None:
        answer = read(note, [Verifier(head.origin, public) for public in self._trusted])
        return answer if isinstance(answer, HeadFault) else None

    async def _grow_to(self, head: Head, kind: str, size: int) -> None:
        while (begin := self._frontier.size) < head.size:
            if not self._ahead:
                self._ahead = await self._page(begin, min(size, begin + _LEAVES))
            slots, self._ahead = self._ahead[: head.size - begin], self._ahead[head.size - begin :]
            await self._take(slots)
            self._progress(self._frontier.size, size)
        if self._frontier.root() != head.root:
            raise await self._rewritten(head, kind)
        self._vouched[kind] = head.size

    async def _page(self, begin: int, end: int) -> list[_Slot]:
        """What stands from `begin` to `end`, or to where a row cannot even be read."""
        try:
            pairs = await self._ask(seal_store.sealed, begin, end)
        except OverflowError as fault:
            if end - begin == 1:
                raise await self._wrong_leaf(begin, "was edited: it has a time that no clock shows") from fault
            return await self._page(begin, begin + (end - begin) // 2)
        found = {pair[0].number: pair for pair in pairs}
        return [found.get(number) for number in range(begin, end)]

    async def _take(self, slots: Sequence[_Slot]) -> None:
        """Append leaves to the tree, up to the first that is not what is stored."""
        begin = self._frontier.size
        pairs = [(slot[0], slot[1]) for slot in takewhile(_is_whole, slots) if slot and slot[1]]
        grown = merkle.grow(self._frontier, [merkle.leaf_hash(self._log.entry(row)) for _, row in pairs])
        for (leaf, _), stack in zip(pairs, merkle.stacked(grown.nodes), strict=True):
            if leaf.nodes != stack:
                raise await self._differs(leaf, stack)
        if len(pairs) < len(slots):
            raise await self._gap(begin + len(pairs), slots[len(pairs)])
        self._frontier = grown.frontier
        self._last = Place(pairs[-1][1]["xid"], pairs[-1][1]["id"])

    async def _differs(self, leaf: Leaf, stack: bytes) -> _Found:
        if leaf.nodes[: merkle.HASH_BYTES] != stack[: merkle.HASH_BYTES]:
            what = "is not what was sealed: it was edited, or it changed places with another"
            return await self._wrong_leaf(leaf.number, what)
        if len(leaf.nodes) != len(stack):
            return await self._wrong_leaf(leaf.number, "was moved to a place that is not its own")
        level = next(at for at in range(len(stack)) if leaf.nodes[at] != stack[at]) // merkle.HASH_BYTES
        first = leaf.number + 1 - (1 << level)
        what = f"or one after it to leaf {leaf.number} was reordered or rewritten together with its leaf"
        return await self._wrong_leaf(first, what)

    async def _gap(self, number: int, slot: _Slot) -> _Found:
        if slot:
            return await self._wrong_leaf(number, "was deleted")
        bare = await self._ask(seal_store.first_bare, None, None)
        after = await self._ask(seal_store.place_of, number + 1)
        if bare and after and bare < after:
            return self._wrong("lost its leaf: that was deleted", number, bare.row_id)
        return self._wrong("was deleted", number)

    async def _rewritten(self, head: Head, kind: str) -> _Found:
        first, last = self._vouched[kind], head.size - 1
        told = f"{kind} of size {head.size}, sealed at {rfc3339(head.sealed_at)}"
        if first > last:
            return self._wrong(f"{told}, has another root than the log had at that size")
        what = f"or one after it to leaf {last} is not what {told}, vouches for: rewritten together with the tree"
        return await self._wrong_leaf(first, what)

    async def _judge_ends(self, ends: Ends) -> None:
        size = ends.head.size if ends.head else 0
        if self._kept:
            most = self._kept[-1].head.size
            raise self._wrong(f"the log ends at size {size}, {_GIVEN} vouches for {most}: it was truncated", size)
        if ends.lowest < 0:  # else a row put in later would count as sealed
            raise await self._wrong_leaf(ends.lowest, "has a leaf of a number that none has: both were put in later")
        if ends.leaves > size:
            raise await self._wrong_leaf(size, "is sealed beyond the last head: heads were removed")
        if self._missed:
            head = next(each.head for each in self._given if each.note in self._missed)
            raise self._wrong(f"{_GIVEN}, of size {head.size}, is no more among the log's: heads were removed")

    async def _count_unsealed(self) -> int:
        """Rows without a leaf; one that stands before the last sealed row was put in later, and is found."""
        after: Place | None = None
        last = self._last if self._last and not await self._is_ahead(self._last) else None
        while last and after != last:
            upto = await self._ask(seal_store.skip, after, last, _ROWS)
            if bare := await self._ask(seal_store.first_bare, after, upto):
                raise self._wrong("was never sealed, though rows after it were: it was put in later", None, bare.row_id)
            after = upto
        return await self._ask(seal_store.count_bare, after, None)

    async def _is_ahead(self, place: Place) -> bool:
        return await self._db.read(lambda tx: seal_store.is_ahead(tx, place))

    async def _ask(
        self, query: Callable[Concatenate[Tx, Log, P], Awaitable[T]], *values: P.args, **named: P.kwargs
    ) -> T:
        return await self._db.read(lambda tx: query(tx, self._log, *values, **named))

    async def _wrong_leaf(self, leaf: int, what: str) -> _Found:
        return self._wrong(what, leaf, await self._ask(seal_store.row_of, leaf))

    def _wrong(self, what: str, leaf: int | None = None, row_id: UUID | None = None) -> _Found:
        return _Found(Wrong(self._log.name, leaf, str(self._log.ids.of(row_id)) if row_id else None, what))


def _is_whole(slot: _Slot) -> bool:
    return slot is not None and slot[1] is not None
