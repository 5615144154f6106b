"""Events over HTTP: as a stream (SSE), and as a list to page through."""

import base64
import binascii
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get
from litestar.params import HeaderParameter, QueryParameter

from leasebox.identity.model import Caller
from leasebox.infra import facts_order, metrics
from leasebox.infra.db import Database, Tx
from leasebox.infra.facts_order import PublishedFact, envelope
from leasebox.infra.web.listing import Limit, Page
from leasebox.infra.web.problem import problem
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.infra.web.streaming import EndlessBody, SlowReader, chunked
from leasebox.live import sse
from leasebox.live.stream import SCOPE, Order, Stream, Streams, event_id_of, position_behind, require_types
from leasebox.values.errors import BadRequest, LeaseboxError
from leasebox.values.facts import PUBLIC, Event
from leasebox.values.ids import EventId, MailboxId

_HEARTBEAT_S = 15.0
# The server holds up to 32 chunks for a reader that stands still.
_CHUNK_BYTES = 16 * 1024
_DOOR = "sse"
_BEHIND_ALL = 2**63 - 1
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
Mailboxes = Annotated[
    list[str] | None,
    QueryParameter(max_items=100, description="Only events of these mailboxes; may be given several times."),
]
Types = Annotated[
    list[str] | None,
    QueryParameter(
        max_items=len(PUBLIC),
        description="Only events of these types; may be given several times.",
        schema_extra={"items": {"type": "string", "enum": list(PUBLIC)}},
    ),
]
LastEventHeader = Annotated[
    str | None,
    HeaderParameter(name="last-event-id", max_length=64, description="The last event that you have; browsers send it."),
]
EventText = Annotated[str | None, QueryParameter(max_length=64)]
Seconds = Annotated[
    int | None, QueryParameter(ge=0, le=3600, description="End the stream after so long; else it has no end.")
]
CursorText = Annotated[
    str | None, QueryParameter(pattern=r"^[A-Za-z0-9_-]{12}$", description="`next_cursor` of the page before.")
]


class EventRoutes(Controller):
    """What happens to a tenant's mailboxes and money, as it happens."""

    path = "/v2/events"
    tags = ["Events"]

    db: Database
    streams: Streams

    @get(
        "/",
        operation_id="stream_events",
        media_type="text/event-stream",
        **needs(SCOPE, 404, 410),
    )
    async def stream(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        mailbox_id: Mailboxes = None,
        types: Types = None,
        last_event_id: EventText = None,
        last_event_header: LastEventHeader = None,
        timeout_s: Seconds = None,
    ) -> EndlessBody:
        """Events as they happen (server-sent events), without loss or repeat.

        Without `Last-Event-ID` (or `last_event_id`, where no header can be sent) the stream begins now; with it, right
        behind that event, and `evt_00000000000000000000000000` stands before the first of all. `data` of each event is
        what `webhooks` in this description shows. A comment comes at least every 15 seconds. When the stream is ended
        from this side, the last event is `stream.closed` and tells why: a credential that ended, all leases of the
        mailboxes asked for have ended, this process is about to stop (connect again). A reader that takes nothing for
        20 seconds is cut off. Browsers that cannot send `Authorization` use the WebSocket `/v2/events/ws`.
        A mailbox that is paused or frozen cannot be asked for (403).
        """
        place = last_event_header if last_event_header is not None else last_event_id
        order = Order(_mailboxes(mailbox_id), types or (), event_id_of(place))
        authorization = request.headers.get("authorization")
        opened = await self.streams.open(authorization, caller, order)
        chunks = _chunks(opened, request.url.path, request_id(request), timeout_s)
        return EndlessBody(chunks, media_type="text/event-stream", headers=_HEADERS)

    @get("/log", operation_id="list_events", **needs(SCOPE, 404))
    async def listed(
        self,
        caller: Given[Caller],
        mailbox_id: Mailboxes = None,
        types: Types = None,
        after: EventText = None,
        cursor: CursorText = None,
        limit: Limit = 20,
    ) -> Page[Event]:
        """What has happened, newest first; with `after` oldest first, from right behind that event.

        To miss nothing, keep the `event_id` of the last event that you have handled and ask for what is `after` it;
        `evt_00000000000000000000000000` stands before the first of all. Pages stay stable while events are added.
        A mailbox that is paused or frozen cannot be asked for (403).
        """
        boxes, wanted = _mailboxes(mailbox_id), types or PUBLIC
        require_types(wanted)

        async def body(tx: Tx) -> tuple[_Place, list[PublishedFact]]:
            await self.streams.require_mailboxes(tx, caller, boxes)
            place = _Place.read(cursor) or await _start(tx, caller, event_id_of(after))
            within = boxes or (None if caller.mailbox_ids is None else list(caller.mailbox_ids))
            read = facts_order.after if place.is_forward else facts_order.before
            return place, await read(tx, caller.tenant_id, place.position, limit + 1, wanted, within)

        place, facts = await self.db.read(body)
        shown, more = facts[:limit], len(facts) > limit
        cursor_after = _Place(place.is_forward, shown[-1].position).text() if more else None
        return Page([envelope(each) for each in shown], cursor_after)


class _Place(msgspec.Struct, frozen=True):
    """What a cursor says: from where, and whether onwards in time or backwards."""

    is_forward: bool
    position: int

    @classmethod
    def read(cls, cursor: str | None) -> "_Place | None":
        """Raises BadRequest for what `text` has not made."""
        if cursor is None:
            return None
        with contextlib.suppress(binascii.Error, ValueError):
            raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
            if raw[:1] in (b"a", b"b") and raw[1:2] < b"\x80":
                return cls(raw[:1] == b"a", int.from_bytes(raw[1:], "big"))
        raise BadRequest("The cursor is not one of ours.", fix="Pass next_cursor exactly as the page before gave it.")

    def text(self) -> str:
        """The cursor."""
        raw = (b"a" if self.is_forward else b"b") + self.position.to_bytes(8, "big")
        return base64.urlsafe_b64encode(raw).decode()


async def _start(tx: Tx, caller: Caller, after: EventId | None) -> _Place:
    if after is None:
        return _Place(is_forward=False, position=_BEHIND_ALL)
    return _Place(is_forward=True, position=await position_behind(tx, caller, after))


async def _chunks(opened: Stream, path: str, trace: str, timeout_s: int | None) -> AsyncGenerator[bytes, None]:
    """The body of a stream: its beginning, its events, comments while nothing happens, and why it ends."""
    yield sse.opening(opened.place.event_id)
    reason = "left"
    with metrics.STREAMS.labels(_DOOR).track_inprogress():
        try:
            async with contextlib.aclosing(_events(opened, timeout_s)) as chunks:
                async for chunk in chunks:
                    yield chunk
            reason = "timeout"
        except SlowReader as fault:
            reason = fault.reason or fault.code
            raise
        except LeaseboxError as fault:
            reason = fault.reason or fault.code
            yield sse.closed(problem(fault, path, trace))
        finally:
            metrics.STREAM_ENDS.labels(_DOOR, reason).inc()


async def _events(opened: Stream, timeout_s: int | None) -> AsyncGenerator[bytes, None]:
    began = told_at = time.monotonic()
    async with contextlib.aclosing(opened.batches()) as batches:
        async for batch in batches:
            for chunk in chunked(map(sse.event, batch), _CHUNK_BYTES):
                yield chunk
            metrics.STREAM_EVENTS.labels(_DOOR).inc(len(batch))
            now = time.monotonic()
            if batch:
                told_at = now
            elif now - told_at >= _HEARTBEAT_S:
                yield sse.HEARTBEAT
                told_at = now
            if timeout_s is not None and now - began >= timeout_s:
                return


def _mailboxes(texts: list[str] | None) -> list[MailboxId]:
    return [known_id(MailboxId, text) for text in texts or ()]
