"""One SMTP conversation with another server, as a client (RFC 5321), over aiosmtplib.

The end of the content, CRLF.CRLF, is sent apart from the content: a server that never got it has taken nothing
(§4.1.1.4), so all doubt about whether a mail was taken lies between that one line and the reply to it.

PIPELINING is not used: aiosmtplib reads one reply at a time and drops what comes unasked.
"""

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, Self, cast

import aiosmtplib
import msgspec

from leasebox.sending.relay import Host, Login, Tls
from leasebox.sending.transport_reply import END, Reply, Verdict, reply

_CHUNK: Final = 64 * 1024
_LOOK_AGAIN_S: Final = 0.005
_ENDS: Final = re.compile(rb"\r\n|\r|\n")
_DOTS: Final = re.compile(rb"(?m)^\.")
_HEADER_END: Final = re.compile(rb"\r\n\r\n")
_LOST: Final = "the connection was lost"
_EARLY: Final = "the server answered before the mail had ended"


class Patience(msgspec.Struct, frozen=True):
    """Seconds that we wait. Shorter than RFC 5321 §4.5.3.2 asks, but for the reply to the end of the mail: giving up
    there leaves doubt, anywhere else it only costs a try, while a place at somebody's tarpit costs everybody."""

    connect: float = 30.0
    command: float = 60.0
    content: float = 300.0
    end: float = 600.0


class Parcel(msgspec.Struct, frozen=True):
    """A mail on its way: its envelope and its content, every line of which ends with CRLF."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def is_8bit(self) -> bool:
        return not self.content.isascii()

    @property
    def is_international(self) -> bool:
        """Whether only SMTPUTF8 servers can take it (RFC 6531 §3.4)."""
        head = _HEADER_END.split(self.content, maxsplit=1)[0]
        return not (head.isascii() and self.sender.isascii() and all(map(str.isascii, self.recipients)))


class Trouble(Exception):
    """This conversation is over and nothing was taken; another host, or this one later, may do better."""

    def __init__(self, last: Reply) -> None:
        super().__init__(str(last))
        self.reply = last


class Doubt(Exception):
    """The end of the mail was sent and no reply came: it may have been taken."""

    def __init__(self, last: Reply) -> None:
        super().__init__(str(last))
        self.reply = last


def wire_form(content: bytes) -> bytes:
    """The content with CRLF at the end of every line, also of the last; a lone CR or LF ends one too."""
    whole = _ENDS.sub(b"\r\n", content)
    return whole if whole.endswith(b"\r\n") else whole + b"\r\n"


class Session:
    """A connection that has been greeted, and is ready for a mail. `said`: every reply since it was last emptied."""

    def __init__(self, host: Host, patience: Patience) -> None:
        self.host = host
        self.said: list[Reply] = []
        self.mails = 0
        self.is_dirty = False
        self._patience = patience
        self._smtp = aiosmtplib.SMTP()
        self._answer: asyncio.Task[Any] | None = None

    @classmethod
    async def opened(cls, host: Host, login: Login | None, helo: str, patience: Patience, said: list[Reply]) -> Self:
        """Connect, greet, begin TLS as `host.tls` wants it, log in. `said` takes the replies. Raises Trouble."""
        session = cls(host, patience)
        session.said = said
        try:
            await session._greet(helo, login)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def is_open(self) -> bool:
        return self._smtp.is_connected

    async def offer(self, parcel: Parcel) -> dict[str, Reply]:
        """MAIL and RCPT; the reply for each recipient. A refused sender is the reply for them all. Raises Trouble."""
        unfit = self._unfit(parcel)
        if unfit is not None:
            self.said.append(unfit)
            return dict.fromkeys(parcel.recipients, unfit)
        if self.is_dirty:
            await self._ask("RSET", b"RSET")
        self.is_dirty = True
        charset = "utf-8" if parcel.is_international else "ascii"
        sender = f"FROM:<{parcel.sender}>".encode(charset)
        first = await self._ask("MAIL", b"MAIL", sender, *self._parameters(parcel))
        if first.verdict is not Verdict.SENT:
            return dict.fromkeys(parcel.recipients, first)
        return {
            recipient: await self._ask(f"RCPT {recipient}", b"RCPT", f"TO:<{recipient}>".encode(charset))
            for recipient in parcel.recipients
        }

    async def send(self, content: bytes) -> Reply | None:
        """DATA and the content, but not its end; the reply where the server does not want it. Raises Trouble."""
        asked = await self._ask("DATA", b"DATA")
        if asked.code != 354:
            return asked
        protocol = self._protocol("DATA")
        # Listening first: some servers say what they mind while the content still comes, and hang up.
        self._answer = asyncio.ensure_future(protocol.read_response())
        self._answer.add_done_callback(_retrieve)
        await asyncio.sleep(0)
        stuffed = _DOTS.sub(b"..", content)
        with self._translated("DATA"):
            async with asyncio.timeout(self._patience.content):
                for start in range(0, len(stuffed), _CHUNK):
                    protocol.write(stuffed[start : start + _CHUNK])
                    await self._written()
        return await self._early() if self._answer.done() else None

    async def end(self) -> Reply:
        """The end of the mail; the reply to it. Raises Trouble if it could not be sent, Doubt if no reply came."""
        assert self._answer is not None
        if self._answer.done():
            return await self._early()
        self._write_end()
        try:
            async with asyncio.timeout(self._patience.end):
                answer = await self._answer
        except TimeoutError:
            raise Doubt(self._fault(END, f"no reply within {self._patience.end:g} s")) from None
        except (aiosmtplib.SMTPException, OSError) as fault:
            raise Doubt(self._fault(END, _why(fault))) from fault
        self._answer = None
        last = self._note(reply(END, answer.code, answer.message))
        if last.code is None:  # whatever that was, it was no reply
            self.close()
            raise Doubt(last)
        if last.code == 421:
            self.close()
        self.mails += 1
        self.is_dirty = last.verdict is not Verdict.SENT
        return last

    async def quit(self) -> None:
        """Part politely, within a second."""
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await self._smtp.quit(timeout=1)
        self.close()

    def close(self) -> None:
        """Hang up. A mail of which the end was not sent is not taken."""
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None
        self._smtp.close()

    async def _greet(self, helo: str, login: Login | None) -> None:
        await self._connect(helo, self.host.tls)
        if not self.host.implicit and self.host.tls is not Tls.OFF and not await self._secure():
            self.close()
            await self._connect(helo, Tls.OFF)
        if login is not None:
            await self._log_in(login)

    async def _connect(self, helo: str, tls: Tls) -> None:
        implicit = self.host.implicit
        self._smtp = aiosmtplib.SMTP(
            hostname=self.host.address,
            port=self.host.port,
            local_hostname=helo,
            timeout=self._patience.command,
            start_tls=False,
            use_tls=implicit,
            tls_context=_context(tls) if implicit else None,
        )
        with self._translated("connect"):
            greeting = await self._smtp.connect(timeout=self._patience.connect)
        self._note(reply("connect", greeting.code, greeting.message))
        await self._hello()

    async def _hello(self) -> None:
        with self._translated("EHLO"):
            try:
                answer = await self._smtp.ehlo()
            except aiosmtplib.SMTPHeloError as refused:
                self._note(reply("EHLO", refused.code, refused.message))
                answer = await self._smtp.helo()
        self._note(reply("EHLO", answer.code, answer.message))

    async def _secure(self) -> bool:
        """STARTTLS. False: it failed, and this host is one to speak to in clear. Raises Trouble."""
        optional = self.host.tls is Tls.MAY
        if not self._smtp.supports_extension("starttls"):
            if optional:
                return True
            raise Trouble(self._fault("STARTTLS", "the server does not offer TLS, which is required"))
        try:
            with self._translated("STARTTLS"):
                answer = await self._smtp.starttls(server_hostname=self.host.name, tls_context=_context(self.host.tls))
        except Trouble:
            if optional:
                return False
            raise
        self._note(reply("STARTTLS", answer.code, answer.message))
        await self._hello()
        return True

    async def _log_in(self, login: Login) -> None:
        hidden = self._smtp.get_transport_info("sslcontext") is not None
        if not hidden and self.host.tls is not Tls.OFF:
            raise Trouble(self._fault("AUTH", "not logging in without TLS"))
        offered = self._smtp.server_auth_methods
        verb = next((word for word in ("plain", "login") if word in offered), None)
        if verb is None:
            raise Trouble(self._fault("AUTH", "the server offers neither PLAIN nor LOGIN"))
        ask = self._smtp.auth_plain if verb == "plain" else self._smtp.auth_login
        with self._translated("AUTH"):
            answer = await ask(login.user, login.password.reveal())
        self._note(reply("AUTH", answer.code, answer.message))

    def _unfit(self, parcel: Parcel) -> Reply | None:
        """Why this server can never take this mail, judged by what it offers; in the words of RFC 3463."""
        if parcel.is_international and not self._smtp.supports_extension("smtputf8"):
            return reply("EHLO", 550, "5.6.7 The server does not take international addresses (SMTPUTF8)")
        if parcel.is_8bit and not self._smtp.supports_extension("8bitmime"):
            return reply("EHLO", 550, "5.6.3 The server does not take 8-bit content (8BITMIME)")
        most = self._smtp.esmtp_extensions.get("size", "").strip()
        if most.isdigit() and 0 < int(most[:18]) < len(parcel.content):
            return reply("EHLO", 552, f"5.3.4 The server takes at most {int(most[:18])} octets")
        return None

    def _parameters(self, parcel: Parcel) -> Sequence[bytes]:
        offered = self._smtp.supports_extension
        found = [b"SIZE=%d" % len(parcel.content)] if offered("size") else []
        found += [b"BODY=8BITMIME"] if parcel.is_8bit else []
        return found + ([b"SMTPUTF8"] if parcel.is_international else [])

    async def _ask(self, command: str, *words: bytes) -> Reply:
        with self._translated(command):
            answer = await self._smtp.execute_command(*words)
        heard = self._note(reply(command, answer.code, answer.message))
        if heard.code in (None, 421):
            self.close()
            raise Trouble(heard)
        return heard

    def _protocol(self, command: str) -> Any:
        if self._smtp.protocol is None or not self._smtp.is_connected:
            raise Trouble(self._fault(command, _LOST))
        return self._smtp.protocol

    async def _written(self) -> None:
        """Until all is with the kernel: whoever waits for the end of the mail should not wait for its content."""
        while self._answer is not None and not self._answer.done() and self._smtp.is_connected:
            if not cast("asyncio.WriteTransport", self._smtp.transport).get_write_buffer_size():
                return
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _write_end(self) -> None:
        protocol = self._protocol(END)
        with self._translated(END):
            protocol.write(b".\r\n")

    async def _early(self) -> Reply:
        """The reply that came before the end of the mail, which is then never sent. Raises Trouble for none."""
        assert self._answer is not None
        with self._translated("DATA"):
            answer = await self._answer
        heard = self._note(reply("DATA", answer.code, answer.message))
        self.close()
        if heard.verdict is Verdict.SENT or heard.code in (None, 354, 421):
            raise Trouble(self._note(reply("DATA", None, _EARLY)))
        return heard

    @contextlib.contextmanager
    def _translated(self, command: str) -> Iterator[None]:
        try:
            yield
        except aiosmtplib.SMTPResponseException as refused:
            heard = self._note(reply(command, refused.code, refused.message))
            self.close()
            raise Trouble(heard) from refused
        except TimeoutError as late:
            raise Trouble(self._fault(command, "no answer in time")) from late
        except (aiosmtplib.SMTPException, OSError, ValueError) as fault:
            raise Trouble(self._fault(command, _why(fault))) from fault

    def _fault(self, command: str, why: str) -> Reply:
        self.close()
        return self._note(reply(command, None, why))

    def _note(self, heard: Reply) -> Reply:
        self.said.append(heard)
        return heard


@cache
def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls is not Tls.VERIFIED:
        # Encrypting for whomever it is beats sending in clear to the same (RFC 7435).
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _why(fault: Exception) -> str:
    """A few words of ours; what the library says may quote addresses of our own network."""
    cause = fault.__cause__ or fault
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or type(cause).__name__}"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    return _LOST if isinstance(fault, ConnectionError) else type(cause).__name__


def _retrieve(answer: "asyncio.Task[Any]") -> None:
    if not answer.cancelled():
        answer.exception()
