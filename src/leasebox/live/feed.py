"""The end of a tenant's log, read once a wake-up for all who follow it in this process.

The log is the truth and a wake-up only a hint, so a look a second finds what nobody was woken for. A feed keeps the
newest facts; who is further behind reads the log by itself until it has caught up.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import takewhile

import msgspec

from leasebox.infra import facts_order, log
from leasebox.infra.db import Database
from leasebox.infra.facts_order import WAKE_FACTS, PublishedFact
from leasebox.live.hub import Hub, woken
from leasebox.values.errors import Unavailable
from leasebox.values.ids import LeaseId, MailboxId, TenantId

PAGE = 500
_KEPT = 1_000
_LOOK_AGAIN_S = 1.0


class Told(msgspec.Struct, frozen=True):
    """A fact as readers get it. json: its envelope."""

    position: int
    event_id: str
    type: str
    mailbox_id: MailboxId | None
    lease_id: LeaseId | None
    at: datetime
    json: bytes


class Part(msgspec.Struct, frozen=True):
    """What follows a position. until: where to go on from; is_last: there was no more when this was read."""

    facts: Sequence[Told]
    until: int
    is_last: bool


class Feed:
    """One tenant's newest facts, in order: all that stand behind `floor`, up to `head`. Both are None at first."""

    def __init__(self, db: Database, tenant_id: TenantId) -> None:
        self._db = db
        self._tenant_id = tenant_id
        self._head: int | None = None
        self._floor = 0
        self._kept: deque[Told] = deque()
        self._readers: set[asyncio.Event] = set()

    async def part_after(self, position: int) -> Part:
        """The next facts behind a position. Raises Unavailable."""
        if self._head is not None and position >= self._floor:
            newer = takewhile(lambda told: told.position > position, reversed(self._kept))
            return Part([*newer][::-1], max(position, self._head), is_last=True)
        return await self._read(position)

    def join(self) -> asyncio.Event:
        """An event that is set whenever there may be something new."""
        event = asyncio.Event()
        self._readers.add(event)
        return event

    def leave(self, event: asyncio.Event) -> bool:
        """Stop setting it; whether nobody reads any more."""
        self._readers.discard(event)
        return not self._readers

    async def run(self, hub: Hub) -> None:
        """Keep up with the log, for ever."""
        with hub.listening(WAKE_FACTS, str(self._tenant_id)) as event:
            while True:
                if await self._look() or hub.closing:
                    for reader in self._readers:
                        reader.set()
                await woken(event, _LOOK_AGAIN_S)

    async def _look(self) -> bool:
        """Take in what is new; whether there was anything."""
        try:
            if self._head is None:
                self._head = await self._db.read(lambda tx: facts_order.last_position(tx, self._tenant_id))
                self._floor = self._head
                return True
            before = self._head
            while self._take(await self._read(self._head)):
                pass
        except Unavailable:
            return False
        except Exception:  # noqa: BLE001 - readers go on with the next look
            log.get("live").exception("log not read", tenant=str(self._tenant_id))
            return False
        return self._head > before

    def _take(self, part: Part) -> bool:
        self._kept.extend(part.facts)
        self._head = part.until
        while len(self._kept) > _KEPT:
            self._floor = self._kept.popleft().position
        return not part.is_last

    async def _read(self, position: int) -> Part:
        found = await self._db.read(lambda tx: facts_order.walk(tx, self._tenant_id, position, PAGE))
        return Part([_told(fact) for fact in found.facts], found.until, found.looked < PAGE)


class Feeds:
    """The feeds that somebody in this process reads."""

    def __init__(self, db: Database, hub: Hub) -> None:
        self._db = db
        self._hub = hub
        self._feeds: dict[TenantId, tuple[Feed, asyncio.Task[None]]] = {}

    @contextlib.asynccontextmanager
    async def reading(self, tenant_id: TenantId) -> AsyncIterator[tuple[Feed, asyncio.Event]]:
        """A tenant's feed and a reader's event on it; it runs as long as anybody reads it."""
        feed, task = self._feeds.get(tenant_id) or self._begin(tenant_id)
        event = feed.join()
        try:
            yield feed, event
        finally:
            if feed.leave(event):
                del self._feeds[tenant_id]
                task.cancel()

    def _begin(self, tenant_id: TenantId) -> "tuple[Feed, asyncio.Task[None]]":
        feed = Feed(self._db, tenant_id)
        begun = (feed, asyncio.create_task(feed.run(self._hub)))
        self._feeds[tenant_id] = begun
        return begun


def _told(fact: PublishedFact) -> Told:
    told = facts_order.envelope(fact)
    return Told(
        fact.position, told.event_id, fact.type, fact.mailbox_id, fact.lease_id, fact.at, msgspec.json.encode(told)
    )
