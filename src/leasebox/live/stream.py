"""One reader's stream of events, whatever carries it: from where, which of them, until when."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import timedelta

import msgspec

from leasebox.identity.callers import Callers
from leasebox.identity.model import Caller
from leasebox.infra import facts_order, metrics
from leasebox.infra.db import Database, Tx
from leasebox.leases import life
from leasebox.leases import service as leases
from leasebox.leases.errors import LeaseEnded
from leasebox.live.errors import Closing, TooManyStreams, UnknownPlace
from leasebox.live.feed import Feed, Feeds, Part, Told
from leasebox.live.hub import Hub, woken
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest, Unavailable
from leasebox.values.facts import FACTS, LEASE_EXPIRED, LEASE_RELEASED, PUBLIC
from leasebox.values.ids import EventId, MailboxId, MalformedId, TenantId

SCOPE = "mail:read"
# Each costs a socket, a task and a place in the tenant's feed; an agent needs one.
MOST_STREAMS = 250
BEGINNING = EventId(int=0)
"""Stands before the first event of all: the first of the milestones, whose ids are their positions."""

_TICK_S = 1.0
# With what `Callers` remembers: nobody is told anything a second after its credential ended (contract §2).
_CHECK_S = 0.2
# Places between events are a multiple of so many positions; so they tell next to nothing of others' events.
_MILE = 256
_POSITIONS = 2**63
# The last lease's end is committed a moment before it is numbered; and a reader that reconnects gets it too.
_AFTER_END_S = 1.0
_ENDED_LONG_AGO = timedelta(seconds=60)


class Wanted(msgspec.Struct, frozen=True):
    """Which events a reader wants and may have. None: all types; all mailboxes, and what concerns none."""

    types: frozenset[str] | None = None
    mailbox_ids: frozenset[MailboxId] | None = None

    def fits(self, told: Told) -> bool:
        """Whether it is one of them."""
        if self.types is not None and told.type not in self.types:
            return False
        return self.concerns(told)

    def concerns(self, told: Told) -> bool:
        """Whether it happened to one of these mailboxes."""
        return self.mailbox_ids is None or told.mailbox_id in self.mailbox_ids


class Place(msgspec.Struct, frozen=True):
    """A place in a tenant's log. event_id: what a reader names to go on from here."""

    position: int
    event_id: str


class Order(msgspec.Struct, frozen=True):
    """What a reader asks for. mailbox_ids empty: all that the caller may have.

    last_event_id: behind which to begin; None: at `place`, and without that now.
    """

    mailbox_ids: Sequence[MailboxId] = ()
    types: Sequence[str] = ()
    last_event_id: EventId | None = None
    place: Place | None = None


class Streams:
    """Opens streams. One of these a process."""

    def __init__(self, db: Database, clock: Clock, hub: Hub, callers: Callers) -> None:
        self._db = db
        self._clock = clock
        self._callers = callers
        self._feeds = Feeds(db, hub)
        self._open: Counter[TenantId] = Counter()
        self.hub = hub

    async def open(self, authorization: str | None, caller: Caller, order: Order) -> "Stream":
        """A stream that has its place in the log.

        Raises NotFound, MailboxPaused, MailboxFrozen (a mailbox), UnknownPlace (404), BadRequest (a type), LeaseEnded
        (410: nothing can come any more), TooManyStreams (429), Unavailable.
        """
        wanted = _wanted(caller, order)

        async def start(tx: Tx) -> Place:
            await self.require_mailboxes(tx, caller, order.mailbox_ids)
            place = order.place or await _place(tx, caller, order.last_event_id)
            await self._require_hope(tx, caller, wanted, place.position)
            return place

        self._require_room(caller.tenant_id)
        return Stream(self, authorization, caller, wanted, await self._db.read(start))

    async def require_mailboxes(self, tx: Tx, caller: Caller, mailbox_ids: Sequence[MailboxId]) -> None:
        """That the caller may ask for these, as for their mail. Raises NotFound, MailboxPaused, MailboxFrozen."""
        now = self._clock.now()
        for lease in await life.require_mailboxes(tx, caller, mailbox_ids):
            refusal = leases.reading_refusal(lease["state"], lease["frozen_at"], lease["expires_at"], now)
            if refusal is not None:
                raise refusal

    async def _require_hope(self, tx: Tx, caller: Caller, wanted: Wanted, position: int) -> None:
        if not wanted.mailbox_ids:
            return
        ended = await life.last_end(tx, caller.tenant_id, wanted.mailbox_ids)
        if ended is None or ended > self._clock.now() - _ENDED_LONG_AGO:
            return
        types, boxes = wanted.types or FACTS, list(wanted.mailbox_ids)
        if not await facts_order.after(tx, caller.tenant_id, position, 1, types, boxes):
            raise LeaseEnded("All leases of these mailboxes have ended, and there is nothing more to tell.")

    def _require_room(self, tenant_id: TenantId) -> None:
        if self._open[tenant_id] >= MOST_STREAMS:
            raise TooManyStreams(
                f"This tenant has {MOST_STREAMS} streams open.", retry_after_s=5, limit=MOST_STREAMS, window="open"
            )

    @contextlib.contextmanager
    def counted(self, tenant_id: TenantId) -> Iterator[None]:
        """One more stream, or one who may begin one, while the context lasts. Raises TooManyStreams."""
        self._require_room(tenant_id)
        self._open[tenant_id] += 1
        try:
            yield
        finally:
            self._open[tenant_id] -= 1
            if not self._open[tenant_id]:
                del self._open[tenant_id]

    async def still(self, authorization: str | None) -> Caller:
        """The caller, if the credential is good still. Raises Unauthorized, TenantInactive, MissingScope."""
        caller = await self._callers.resolve(authorization)
        caller.require(SCOPE)
        return caller

    def age(self, told: Told) -> float:
        """Seconds since an event happened."""
        return max(0.0, (self._clock.now() - told.at).total_seconds())

    async def have_ended(self, caller: Caller, wanted: Wanted) -> bool:
        """Whether every lease of the wanted mailboxes has ended, and that has been told."""
        boxes = wanted.mailbox_ids or frozenset()
        return await self._db.read(lambda tx: life.last_end(tx, caller.tenant_id, boxes)) is not None

    def reading(self, tenant_id: TenantId) -> "contextlib.AbstractAsyncContextManager[tuple[Feed, asyncio.Event]]":
        """The tenant's feed."""
        return self._feeds.reading(tenant_id)


class Stream:
    """One reader's way through the log. place: where it stands, behind the last batch that it gave."""

    def __init__(
        self, streams: Streams, authorization: str | None, caller: Caller, wanted: Wanted, place: Place
    ) -> None:
        self._streams = streams
        self._authorization = authorization
        self._caller = caller
        self._wanted = wanted
        self._checked = time.monotonic()
        self._ending = bool(wanted.mailbox_ids)
        self._ended_since: float | None = None
        self.place = place

    async def batches(self) -> AsyncGenerator[Sequence[Told], None]:
        """Events in order, a few at a time; an empty batch at least each second, so that carriers can do their work.

        Raises Closing (this process ends), Unauthorized, TenantInactive, MissingScope (within a second or two; nothing
        is told after the first), and LeaseEnded once all leases of the mailboxes that it is limited to have ended and
        that was told. While the database is away nothing comes, and nothing is lost.
        """
        tenant_id = self._caller.tenant_id
        with self._streams.counted(tenant_id):
            async with self._streams.reading(tenant_id) as (feed, event):
                while True:
                    part = await self._next(feed)
                    fitting = [told for told in part.facts if self._wanted.fits(told)]
                    self.place = Place(part.until, fitting[-1].event_id if fitting else self.place.event_id)
                    if fitting:
                        yield fitting
                        metrics.STREAM_SECONDS.observe(self._streams.age(fitting[-1]))
                    if part.is_last:
                        await self._require_hope()
                        await woken(event, _TICK_S)
                    if not fitting:
                        yield ()

    async def _next(self, feed: Feed) -> Part:
        if self._streams.hub.closing:
            raise Closing("This process is about to end.", retry_after_s=1)
        try:
            await self._check()
            part = await feed.part_after(self.place.position)
            self._note_ends(part)
        except Unavailable:
            return Part((), self.place.position, is_last=True)
        return part

    async def _check(self) -> None:
        """Whoever signed out, was revoked or suspended meanwhile gets nothing more."""
        if time.monotonic() - self._checked < _CHECK_S:
            return
        self._caller = await self._streams.still(self._authorization)
        self._checked = time.monotonic()

    def _note_ends(self, part: Part) -> None:
        if self._wanted.mailbox_ids and any(
            told.type in {LEASE_EXPIRED, LEASE_RELEASED} and self._wanted.concerns(told) for told in part.facts
        ):
            self._ending = True

    async def _require_hope(self) -> None:
        if not self._ending:
            return
        try:
            self._ending = await self._streams.have_ended(self._caller, self._wanted)
        except Unavailable:
            return
        if not self._ending:
            self._ended_since = None
        elif self._ended_since is None:
            self._ended_since = time.monotonic()
        elif time.monotonic() - self._ended_since >= _AFTER_END_S:
            raise LeaseEnded("All leases of these mailboxes have ended.")


def event_id_of(text: str | None) -> EventId | None:
    """Raises UnknownPlace for a text that is no event's id."""
    try:
        return None if text is None else EventId.parse(text)
    except MalformedId:
        raise UnknownPlace("There is no event with this id to go on from.") from None


async def _place(tx: Tx, caller: Caller, last: EventId | None) -> Place:
    if last is not None:
        return Place(await position_behind(tx, caller, last), str(last))
    if caller.mailbox_ids is not None:
        return await _place_among(tx, caller.tenant_id, list(caller.mailbox_ids))
    position, newest = await facts_order.newest(tx, caller.tenant_id) or (0, BEGINNING)
    return Place(position, str(newest))


async def _place_among(tx: Tx, tenant_id: TenantId, boxes: Sequence[MailboxId]) -> Place:
    """Now, for who may know these mailboxes only: of another's fact not even the id.

    The last milestone, or the mailboxes' newest fact behind it. However long ago that was, few facts are looked at.
    """
    mile = await facts_order.last_position(tx, tenant_id) // _MILE * _MILE
    behind = await facts_order.after(tx, tenant_id, mile, _MILE, PUBLIC, boxes)
    return Place(behind[-1].position, str(behind[-1].event_id)) if behind else Place(mile, str(EventId(int=mile)))


async def position_behind(tx: Tx, caller: Caller, last: EventId) -> int:
    """Where an event stands that the caller may know, or a milestone. Raises UnknownPlace."""
    if last == BEGINNING:
        return 0
    found: int | None
    if last.int < _POSITIONS:  # which no event's id is
        is_passed = last.int <= await facts_order.last_position(tx, caller.tenant_id)
        found = last.int if is_passed and last.int % _MILE == 0 else None
    else:
        within = None if caller.mailbox_ids is None else list(caller.mailbox_ids)
        found = await facts_order.position_of(tx, caller.tenant_id, last, within)
    if found is None:
        raise UnknownPlace("There is no event with this id to go on from.")
    return found


def require_types(types: Sequence[str]) -> None:
    """That all of these are in the catalogue. Raises BadRequest."""
    for each in types:
        if each not in FACTS:
            raise BadRequest(f"There is no type of event {each[:80]!r}.", fix=f"Use any of {', '.join(FACTS)}.")


def _wanted(caller: Caller, order: Order) -> Wanted:
    require_types(order.types)
    boxes = frozenset(order.mailbox_ids) if order.mailbox_ids else caller.mailbox_ids
    return Wanted(frozenset(order.types) if order.types else None, boxes)
