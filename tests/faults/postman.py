"""The sender's side of SMTP: a session that may pipeline, and a mail's journey until somebody answers for it."""

import asyncio
import base64
import hashlib
import re
import ssl
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec

from tests.faults.world import World

_ANSWER_S = 30.0


class HungUp(Exception):
    """The server said 421: it takes nothing more here, and has not taken what it was told."""


LOST = (HungUp, OSError, TimeoutError, asyncio.IncompleteReadError)


class Letter(msgspec.Struct):
    """A mail to be delivered. token: in its subject, and in no other mail; to: addresses."""

    token: str
    content: bytes
    to: Sequence[str]
    told: dict[str, Any] = {}

    @property
    def wire(self) -> bytes:
        """The content as DATA sends it, dots doubled (RFC 5321 §4.5.2)."""
        return re.sub(rb"(\A|\r\n)\.", rb"\1..", self.content) + b".\r\n"


class Session:
    """One connection to the instance's SMTP. sender: of its mails."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.sender = "sender@shop.example"

    @classmethod
    async def open(cls, world: World) -> "Session":
        """Connect and say EHLO. Raises OSError, TimeoutError, IncompleteReadError or HungUp."""
        async with asyncio.timeout(_ANSWER_S):
            session = cls(*await asyncio.open_connection(*world.machine.smtp))
            await session.hear()
            await session.ask(b"EHLO faults.example")
        return session

    @classmethod
    async def submission(cls, world: World, login: str, password: str) -> "Session":
        """The same at the door where mailboxes hand in mail, under TLS, signed in. A refused login raises HungUp."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with asyncio.timeout(_ANSWER_S):
            session = cls(*await asyncio.open_connection(*world.machine.submission))
            session.sender = login
            await session.hear()
            await session.ask(b"EHLO faults.example")
            if (said := await session.ask(b"STARTTLS"))[:3] == "220":
                await session._writer.start_tls(context)
                await session.ask(b"EHLO faults.example")
                words = base64.b64encode(f"\0{login}\0{password}".encode())
                said = await session.ask(b"AUTH PLAIN " + words)
        if said[:3] != "235":
            session.leave()
            raise HungUp(said)
        return session

    async def ask(self, line: bytes) -> str:
        """Say a command; the last line of the reply."""
        self._writer.write(line + b"\r\n")
        return await self.hear()

    async def hear(self) -> str:
        """The last line of the next reply. Raises OSError, TimeoutError or IncompleteReadError."""
        async with asyncio.timeout(_ANSWER_S):
            while (line := await self._reader.readuntil(b"\n"))[3:4] == b"-":
                pass
        if line.startswith(b"421"):
            raise HungUp(line.decode().rstrip())
        return line.decode().rstrip()

    async def step_by_step(self, letter: Letter) -> tuple[list[str], str]:
        """Envelope and content, waiting for each reply; those to RCPT, and the last one."""
        last, *replies = [await self.ask(line) for line in self._envelope(letter)]
        if last.startswith("250") and any(reply.startswith("250") for reply in replies):
            last = await self.ask(b"DATA")
            if last.startswith("354"):
                self._writer.write(letter.wire)
                last = await self.hear()
        else:
            last = next((reply for reply in (last, *replies) if not reply.startswith("250")), last)
        return replies, last

    async def at_once(self, letter: Letter) -> tuple[list[str], str]:
        """The envelope and DATA in one write (RFC 2920), then the content."""
        self._writer.write(b"\r\n".join([*self._envelope(letter), b"DATA"]) + b"\r\n")
        first = await self.hear()
        replies = [await self.hear() for _ in letter.to]
        last = await self.hear()
        if last.startswith("354"):
            self._writer.write(letter.wire)
            last = await self.hear()
        elif refusals := [reply for reply in (first, *replies) if not reply.startswith("250")]:
            last = refusals[0]
        return replies, last

    async def half(self, letter: Letter) -> str:
        """Envelope, DATA, and the first half of the content; the last reply."""
        *_, last = [await self.ask(line) for line in (*self._envelope(letter), b"DATA")]
        self._writer.write(letter.wire[: len(letter.wire) // 2])
        await self._writer.drain()
        return last

    def leave(self) -> None:
        """Close without QUIT."""
        self._writer.transport.abort()

    def _envelope(self, letter: Letter) -> list[bytes]:
        return [
            f"MAIL FROM:<{self.sender}>".encode(),
            *(f"RCPT TO:<{address}>".encode() for address in letter.to),
        ]


async def post(world: World, session: Session, letter: Letter, number: int, how: str) -> str:
    """One try of a letter; acked, deferred (4yz), refused (5yz) or unknown, which is in the journal too."""
    began = time.time()
    digest = hashlib.sha256(letter.content).hexdigest()
    await world.journal.note(
        "mails", token=letter.token, number=number, to=list(letter.to), digest=digest, how=how, **letter.told
    )
    taken, last, outcome = [], "", "unknown"
    try:
        replies, last = await getattr(session, how)(letter)
        taken = [each for each, reply in zip(letter.to, replies, strict=True) if reply.startswith("250")]
        outcome = {"2": "acked", "4": "deferred", "5": "refused"}.get(last[:1], "unknown")
    except HungUp as fault:
        last, outcome = str(fault), "deferred"
    except LOST as fault:
        last = type(fault).__name__
    await world.journal.note(
        "mailed",
        token=letter.token,
        number=number,
        began=began,
        outcome=outcome,
        reply=last,
        taken=taken,
        **letter.told,
    )
    world.figures[f"mails {outcome}"] += 1
    return outcome


async def reached(world: World, opening: Awaitable[Session]) -> Session | None:
    """The session, if one can be had now; what hindered it is in the journal."""
    began = time.time()
    try:
        return await opening
    except LOST as fault:
        await world.journal.note("unreachable", began=began, fault=type(fault).__name__, said=str(fault))
        return None


async def deliver(world: World, session: Session | None, letter: Letter, how: str) -> Session | None:
    """Try until it is answered for, as a mail server does; the session, if it can be used again."""
    world.figures["mails sent"] += 1
    for number in range(1, 200):
        session = session or await reached(world, Session.open(world))
        if session is None:
            await world.pause(0.2)
        else:
            outcome = await post(world, session, letter, number, how)
            if outcome == "acked":
                return session
            session.leave()  # also after a refusal: whoever is refused often is shown the door
            session = None
            if outcome == "refused":
                return session
            await world.pause(0.2)
        if world.over.is_set():
            break
    return session
