"""Events over a WebSocket: for browsers, which cannot set headers, and for readers who change what they want."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Controller, WebSocket, websocket

from leasebox.identity.callers import Callers
from leasebox.identity.model import Caller
from leasebox.identity.rates import Rates
from leasebox.infra import metrics, wall
from leasebox.infra.cache import Cache
from leasebox.infra.web.body import decode
from leasebox.infra.web.limits import limit, limit_address
from leasebox.infra.web.problem import problem
from leasebox.infra.web.routes import known_id
from leasebox.infra.web.sockets import LeftError, TextSocket
from leasebox.live.errors import Closing, NothingAsked
from leasebox.live.feed import Told
from leasebox.live.hub import DOOR
from leasebox.live.stream import SCOPE, Order, Place, Stream, Streams, event_id_of
from leasebox.values.clock import Clock, rfc3339
from leasebox.values.errors import BadRequest, LeaseboxError, Unauthorized, Unavailable
from leasebox.values.ids import MailboxId

SPOKEN = """\
What happens to mailboxes and money, told alike by `GET /v2/events` (server-sent events), the WebSocket
`/v2/events/ws`, `GET /v2/events/log` and webhooks; each event has an `event_id` that never changes.

On the WebSocket all messages are JSON texts. Send `{"authenticate": {"token": "…"}}` first, unless the handshake had an
`Authorization` header; a token never stands in a URL. Then
`{"subscribe": {"mailbox_ids": […], "types": […], "last_event_id": "evt_…"}}`, each field as it is wanted, no list
empty; it is answered with `{"subscribed": …}` and events follow. A later `subscribe` changes what is wanted, without
loss or repeat. A connection that has signed in counts as one of the tenant's streams, and ends with its credential.
A `{"ping": …}` comes when nothing happened for 15 seconds, and one of yours is answered with `{"pong": …}`. Whatever
ends the connection is said before in one message as HTTP would say it (`error`, `message`, `fix`), with the close code
4000 + the HTTP status; 1012 means: connect again now. Go on with the last `event_id` that you have.
"""

_DOOR = "websocket"
_HEARTBEAT_S = 15.0
# For saying who one is and what one wants.
_PATIENCE_S = 10.0
# How often a credential is looked at while no stream does so.
_CHECK_S = 1.0
# RFC 6455 §7.4: 4000–4999 are ours, and say what HTTP would have; 1012 (IANA): the service restarts.
_CODES = 4000
_RESTARTING = 1012
_Texts = Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]


class Authenticate(msgspec.Struct, forbid_unknown_fields=True):
    """token: a session's or an API key's, without `Bearer`."""

    token: Annotated[str, msgspec.Meta(max_length=512)]


class Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    """What is wanted from now on; a later one replaces it. Without last_event_id a first one begins now.

    mailbox_ids, types: all where they are left out or null.
    """

    mailbox_ids: _Texts | None = None
    types: _Texts | None = None
    last_event_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class ClientMessage(msgspec.Struct, forbid_unknown_fields=True):
    """One of these at a time."""

    authenticate: Authenticate | None = None
    subscribe: Subscribe | None = None
    ping: Any = msgspec.UNSET
    pong: Any = msgspec.UNSET


class SocketRoutes(Controller):
    """`/v2/events/ws`. OpenAPI has no words for it: the tag `Events` describes it."""

    path = "/v2/events/ws"

    streams: Streams
    callers: Callers
    cache: Cache
    rates: Rates
    clock: Clock

    # Who calls may be said in the first message, so this door asks for itself.
    @websocket("/", opt={"door": _DOOR})
    async def live(self, socket: WebSocket[Any, Any, Any]) -> None:
        """One connection, from its handshake to its end."""
        await socket.accept()
        text = TextSocket(socket)
        conversation = _Conversation(self, socket, text)
        reason, code = "left", 1000
        with metrics.STREAMS.labels(_DOOR).track_inprogress():
            try:
                await limit_address(socket, self.cache, _DOOR, self.rates.live("api"))
                await conversation.hold()
            except LeftError:
                return
            except LeaseboxError as fault:
                reason = fault.reason or fault.code
                code = _RESTARTING if isinstance(fault, Closing) else _CODES + fault.kind.value
                await conversation.refuse(fault)
            finally:
                metrics.STREAM_ENDS.labels(_DOOR, reason).inc()
        await text.close(code, reason)


class _Conversation:
    """What is said on one WebSocket."""

    def __init__(self, routes: SocketRoutes, socket: WebSocket[Any, Any, Any], text: TextSocket) -> None:
        self._routes = routes
        self._socket = socket
        self._text = text
        self._authorization: str | None = socket.headers.get("authorization")
        self._caller: Caller | None = None
        self._telling: asyncio.Task[None] | None = None
        # Where the next subscription goes on: behind what has been told.
        self._place: Place | None = None
        # Counts as one of the tenant's streams while there is none that counts by itself.
        self._seat = contextlib.ExitStack()

    async def hold(self) -> None:
        """Talk until the other side leaves. Raises LeaseboxError: why it ends from this side."""
        with self._seat:
            if self._authorization is not None:
                await self._admit()
            await self._talk()

    async def _talk(self) -> None:
        hub = self._routes.streams.hub
        hearing = asyncio.create_task(self._hear())
        try:
            with hub.listening(DOOR, "") as ending:
                while not hub.closing:
                    if await self._next(hearing, ending):
                        message = hearing.result()
                        hearing = asyncio.create_task(self._hear())
                        await self._heed(message)
            raise Closing("This process is about to end.", retry_after_s=1)
        finally:
            hearing.cancel()
            await self._hush()
            with contextlib.suppress(asyncio.CancelledError, LeaseboxError, LeftError):
                await hearing

    async def _next(self, hearing: "asyncio.Task[ClientMessage]", ending: asyncio.Event) -> bool:
        """Wait for what comes next; whether it is a message. Raises what ended the telling, and as `_first` does."""
        ended = asyncio.create_task(ending.wait())
        tasks: list[asyncio.Task[Any]] = [hearing, ended, *([] if self._telling is None else [self._telling])]
        try:
            done = await self._first(tasks)
        finally:
            ended.cancel()
        ending.clear()
        if self._telling is not None and self._telling.done():
            self._telling.result()
        return hearing in done

    async def _first(self, tasks: Sequence["asyncio.Task[Any]"]) -> "set[asyncio.Task[Any]]":
        """Those that are done first. While nothing is told, raises NothingAsked in the end, and as `_check` does."""
        patient_until = time.monotonic() + _PATIENCE_S
        while True:
            left = max(0.0, min(_CHECK_S, patient_until - time.monotonic())) if self._telling is None else None
            done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return done
            if time.monotonic() >= patient_until:
                raise NothingAsked("Nothing was asked for.")
            await self._check()

    async def _check(self) -> None:
        """Whoever signed out, was revoked or suspended meanwhile is sent away; not while the database is."""
        if self._caller is not None:
            with contextlib.suppress(Unavailable):
                self._caller = await self._routes.streams.still(self._authorization)

    async def refuse(self, fault: LeaseboxError) -> None:
        """Say why this connection ends."""
        state = self._socket.scope["state"]
        body = problem(fault, str(self._socket.scope["path"]), str(state.get("request_id", "")))
        with contextlib.suppress(LeaseboxError, LeftError):
            await self._say(body)

    async def _hear(self) -> ClientMessage:
        """The next message. Raises LeftError, BadRequest, TooLarge."""
        return decode((await self._text.hear()).encode("utf-8", "surrogatepass"), ClientMessage)

    async def _heed(self, message: ClientMessage) -> None:
        said = [message.authenticate, message.subscribe, *_unless_unset(message.ping, message.pong)]
        if len([each for each in said if each is not None]) > 1 or not self._is_known(message):
            raise BadRequest(
                "A message is one of authenticate, subscribe, ping, pong.",
                fix='Send {"authenticate": {"token": "…"}}, {"subscribe": {}} or {"ping": 1}.',
            )
        if message.authenticate is not None:
            await self._authenticate(message.authenticate)
        elif self._caller is None:
            raise Unauthorized(
                "Nobody has signed in on this connection.", fix='Send {"authenticate": {"token": "…"}} first.'
            )
        elif message.subscribe is not None:
            # Each stream trusts in who begins it for a moment: who begins one after the other is looked at each time.
            self._caller = await self._routes.streams.still(self._authorization)
            await self._subscribe(self._caller, message.subscribe)
        else:
            await self._check()
            if message.ping is not msgspec.UNSET:
                await self._rated(self._caller)
                await self._say({"pong": message.ping})

    def _is_known(self, message: ClientMessage) -> bool:
        pinged = message.ping is not msgspec.UNSET or message.pong is not msgspec.UNSET
        return pinged or message.authenticate is not None or message.subscribe is not None

    async def _authenticate(self, message: Authenticate) -> None:
        if self._caller is not None:
            raise BadRequest("Somebody has signed in on this connection.", fix="Open another connection.")
        self._authorization = f"Bearer {message.token}"
        await self._admit()

    async def _admit(self) -> None:
        caller = await self._routes.callers.resolve(self._authorization)
        caller.require(SCOPE)
        self._socket.scope["state"]["tenant"] = str(caller.tenant_id)
        await self._rated(caller)
        wall.enter(caller.tenant_id)
        self._seat.enter_context(self._routes.streams.counted(caller.tenant_id))
        self._caller = caller
        expires_at = None if caller.expires_at is None else rfc3339(caller.expires_at)
        await self._say({"authenticated": {"tenant_id": str(caller.tenant_id), "expires_at": expires_at}})

    async def _rated(self, caller: Caller) -> None:
        rate = await self._routes.rates.of("api", caller.tenant_id)
        await limit(self._socket, self._routes.cache, "api", str(caller.tenant_id), rate)

    async def _subscribe(self, caller: Caller, wish: Subscribe) -> None:
        """Begin anew; without a place from where the last subscription stood."""
        await self._rated(caller)
        boxes = [known_id(MailboxId, text) for text in wish.mailbox_ids or ()]
        last = event_id_of(wish.last_event_id)
        await self._hush()
        self._seat.close()
        order = Order(boxes, wish.types or (), last, self._place if last is None else None)
        opened = await self._routes.streams.open(self._authorization, caller, order)
        self._seat.enter_context(self._routes.streams.counted(caller.tenant_id))
        begins = opened.place.event_id
        answer = {"mailbox_ids": wish.mailbox_ids, "types": wish.types, "last_event_id": begins}
        await self._say({"subscribed": answer})
        self._telling = asyncio.create_task(self._tell(opened))

    async def _tell(self, opened: Stream) -> None:
        told_at = time.monotonic()
        self._place = opened.place
        self._seat.close()
        async with contextlib.aclosing(opened.batches()) as batches:
            async for batch in batches:
                await self._pass_on(batch)
                self._place = opened.place
                now = time.monotonic()
                if batch:
                    told_at = now
                elif now - told_at >= _HEARTBEAT_S:
                    await self._say({"ping": rfc3339(self._routes.clock.now())})
                    told_at = now

    async def _pass_on(self, batch: Sequence[Told]) -> None:
        for told in batch:
            await self._text.say(told.json.decode())
            self._place = Place(told.position, told.event_id)
            metrics.STREAM_EVENTS.labels(_DOOR).inc()

    async def _hush(self) -> None:
        """Stop telling, between two events."""
        if self._telling is None:
            return
        async with self._text.sending:  # so that no event is half told
            self._telling.cancel()
        with contextlib.suppress(asyncio.CancelledError, LeaseboxError, LeftError):
            await self._telling
        self._telling = None

    async def _say(self, message: dict[str, Any]) -> None:
        await self._text.say(msgspec.json.encode(message, enc_hook=str).decode())


def _unless_unset(*values: Any) -> list[Any]:
    return [True for value in values if value is not msgspec.UNSET]
