"""One TCP connection of the SMTP server: moves octets between transport and session, and waits for the house."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from leasebox.infra import log
from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_clerk import Clerk, Visit, apology
from leasebox.mail.smtp_limits import (
    Entry,
    Gate,
    IPAddress,
    IPNetwork,
    Limits,
    Memory,
    client_address,
    client_key,
    is_within,
)
from leasebox.mail.smtp_proxy import NoHeader, Proxied, read_proxy
from leasebox.mail.smtp_questions import ContentReceived, Offer, Question, TlsAsked
from leasebox.mail.smtp_replies import Reply
from leasebox.mail.smtp_session import Session
from leasebox.values.errors import Unavailable

_log = log.get("leasebox.smtp")


@dataclass(slots=True)
class Doorway:
    """What all connections of one server share. `quiet` is set while no connection is open and no mail being stored."""

    clerk: Clerk
    offer: Offer
    limits: Limits
    tls: ssl.SSLContext | None
    proxies: tuple[IPNetwork, ...]
    session: Callable[[Offer], Session]
    gate: Gate
    memory: Memory
    open: set["Connection"] = field(default_factory=set)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work that outlives its connection and is waited for when the server closes."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def notice(self) -> None:
        """Set `quiet` if nothing is open and nothing runs."""
        if not self.open and not self.tasks:
            self.quiet.set()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self.notice()


class Connection(asyncio.Protocol):
    """Reads stop while a question is with the house and while the client does not take our replies."""

    _transport: asyncio.Transport

    def __init__(self, doorway: Doorway) -> None:
        self._door = doorway
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._token = secrets.token_hex(6)
        self._mails = 0
        self._made: Visit | None = None
        self._entered = False
        self._client_ip = ""
        self._client: str | None = None
        self._proxy = bytearray()
        self._under_tls = bytearray()
        self._rising = False
        self._busy = False
        self._blocked = False
        self._paused = False
        self._half_closed = False
        self._lost = False
        self._held = 0
        self._seen_progress = 0
        # Times of the loop's clock, in seconds.
        self._since = self._mail_since = self._loop.time()
        self._linger_until: float | None = None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Cast, since uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        door = self._door
        door.open.add(self)
        door.quiet.clear()
        peer = transport.get_extra_info("peername")
        if not peer:
            return self._transport.abort()
        if door.gate.enter() is Entry.SERVER_FULL:
            return self._refuse(say.SERVER_FULL)
        self._entered = True
        address = client_address(peer[0])
        self._client_ip = str(address)
        # A trusted proxy must send its header (the specification forbids guessing); all others just speak SMTP.
        return None if is_within(address, door.proxies) else self._meet(address)

    def data_received(self, data: bytes) -> None:
        if self._rising:
            # The handshake can end, and the client speak under TLS, before start_tls has returned.
            self._under_tls += data
            return None
        session = self._session
        if session is None:
            return self._read_proxy(data)
        session.receive(data)
        if self._busy or self._blocked:
            self._pause()
            return self._account(session)
        self._pump(session)
        return self._note_progress(session)

    def eof_received(self) -> bool:
        self._half_closed = True
        # A client that has said all may still read: hold the door for the reply that is being made (not under TLS).
        return self._busy and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        door = self._door
        door.open.discard(self)
        if self._client is not None:
            door.gate.unname(self._client)
        if self._entered:
            door.gate.leave()
        if not self._busy:
            self._release()
        door.notice()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._session is not None and not self._busy:
            self._pump(self._session)
            self._resume()

    # What the server calls

    def sweep(self, now: float) -> None:
        """Part from a client that keeps us waiting; `now` by the loop's clock."""
        limits = self._door.limits
        session = self._session
        if self._linger_until is not None:
            if now > self._linger_until:
                self._transport.abort()
        elif session is None:
            if now - self._since > limits.proxy_s:
                self._transport.abort()
        elif not self._busy:
            patience = limits.stall_s if session.reads_content else limits.command_s
            if now - self._since > patience or now - self._mail_since > limits.mail_s:
                session.leave(say.TIMED_OUT)
                self._flush(session)

    def drain(self) -> None:
        """Finish the mail under way, then part; at once if there is none."""
        if self._session is None:
            self._transport.abort()
            return
        self._session.drain()
        if not self._busy:
            self._pump(self._session)

    def abort(self) -> None:
        """Part without a word."""
        self._transport.abort()

    # Meeting and parting

    def _meet(self, address: IPAddress) -> None:
        key = client_key(address)
        if self._door.gate.name(key) is Entry.CLIENT_FULL:
            return self._refuse(say.TOO_MANY_CONNECTIONS)
        self._client = key
        self._client_ip = str(address)
        self._session = session = self._door.session(self._door.offer)
        if self._door.draining:
            session.drain()
        self._since = self._mail_since = self._loop.time()
        return self._pump(session)

    def _read_proxy(self, data: bytes) -> None:
        if self._linger_until is not None:
            return
        self._proxy += data
        header = read_proxy(bytes(self._proxy))
        if header is NoHeader.MALFORMED:
            self._transport.abort()
        elif isinstance(header, Proxied):
            rest = bytes(self._proxy[header.octets :])
            self._proxy.clear()
            self._meet(client_address(header.client_ip or self._client_ip))
            if rest and self._session is not None:
                self.data_received(rest)

    def _refuse(self, last: Reply) -> None:
        self._transport.write(last.wire)
        self._part()

    def _part(self) -> None:
        """Close so that our last words arrive: closing over unread octets would reset the connection."""
        if self._linger_until is None:
            self._linger_until = self._loop.time() + self._door.limits.linger_s
            if self._transport.can_write_eof() and not self._half_closed:
                with contextlib.suppress(OSError):  # the client has reset, and our loop has yet to tell us so
                    self._transport.write_eof()
                self._resume()
            else:
                self._transport.close()

    # Moving octets

    def _pump(self, session: Session) -> None:
        """Let the session read; hand its question to the house or its replies to the client."""
        question = session.advance()
        while question is not None and (reply := self._door.clerk.at_once(question, self._visit(session))) is not None:
            session.settle(reply)
            question = session.advance()
        self._account(session)
        if question is None:
            return self._flush(session)
        self._busy = True
        return self._door.run(self._answer(session, question))

    async def _answer(self, session: Session, question: Question | None) -> None:
        """Settle questions until the session has none, then write the replies to all of them at once."""
        try:
            while question is not None and not self._lost:
                if isinstance(question, TlsAsked):
                    await self._take_up_tls(session)
                else:
                    session.settle(await self._decide(session, question))
                question = session.advance()
                self._account(session)
        except Exception:  # noqa: BLE001 - a fault of ours costs this connection, never the server
            _log.exception("smtp session failed", connection=self._token)
            self._transport.abort()
        finally:
            self._rest(session)

    def _rest(self, session: Session) -> None:
        """The house has nothing more to say: write, and listen again."""
        self._busy = False
        self._since = self._loop.time()
        if self._lost:
            return self._release()
        self._flush(session)
        if self._half_closed:
            self._transport.close()
        elif not self._blocked:
            self._resume()
        return None

    def _flush(self, session: Session) -> None:
        if session.output and not self._transport.is_closing():
            self._transport.write(bytes(session.output))
        session.output.clear()
        if session.ended:
            self._part()

    def _note_progress(self, session: Session) -> None:
        """A command's clock runs until the command is whole, a content's clock only while nothing comes."""
        if session.reads_content or session.progress != self._seen_progress:
            self._seen_progress = session.progress
            self._since = self._loop.time()

    def _account(self, session: Session) -> None:
        """Report what the session holds; if all of them hold too much, this one gives up its mail."""
        memory = self._door.memory
        held = session.held_octets
        memory.change(held - self._held)
        self._held = held
        if memory.full and session.reads_content:
            session.shed(say.NO_MEMORY)
            memory.change(session.held_octets - held)
            self._held = session.held_octets

    def _release(self) -> None:
        self._door.memory.change(-self._held)
        self._held = 0
        self._session = None

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # Asking the house

    def _visit(self, session: Session) -> Visit:
        """Made anew for each mail, and when somebody has signed in."""
        if self._made is None or self._made.login is not session.login:
            token = f"{self._token}.{self._mails + 1}"
            client = self._client or self._client_ip
            self._made = Visit(self._door.offer.hostname, client, self._client_ip, token, session.login)
        return self._made

    async def _decide(self, session: Session, question: Question) -> Reply:
        """The house's reply. Whatever it raises becomes a reply that has the client try again later."""
        try:
            return await self._door.clerk.answer(question, self._visit(session))
        except Unavailable as fault:
            _log.warning("smtp client put off", connection=self._token, why=fault.message)
            return apology(question)
        except Exception:  # noqa: BLE001 - whatever it was, the client must hear 451 and try again
            _log.exception("smtp intake failed", connection=self._token, asked=type(question).__name__)
            return apology(question)
        finally:
            if isinstance(question, ContentReceived):
                self._mails += 1
                self._made = None
                self._mail_since = self._loop.time()

    async def _take_up_tls(self, session: Session) -> None:
        assert self._door.tls is not None
        self._flush(session)
        self._rising = True
        limits = self._door.limits
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                self._door.tls,
                server_side=True,
                ssl_handshake_timeout=limits.handshake_s,
                ssl_shutdown_timeout=limits.linger_s,
            )
        except OSError:
            transport = None
        finally:
            self._rising = False
        if transport is None or self._lost:
            self._transport.abort()
            self.connection_lost(None)
            return
        self._transport = transport
        self._paused = False
        secured: ssl.SSLObject = transport.get_extra_info("ssl_object")
        cipher = secured.cipher()
        session.tls_started(f"{secured.version()} {cipher[0] if cipher else ''}".rstrip())
        session.receive(bytes(self._under_tls))
        self._under_tls.clear()
