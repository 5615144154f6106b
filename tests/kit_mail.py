"""Mail for tests: a real SMTP server and a parser in this process, on the database and the clock of a house."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from leasebox.infra.db import Wake
from leasebox.infra.embedded import EngineUrls
from leasebox.mail.intake import GroupIntake
from leasebox.mail.jobs import HouseDesk, Parser, Reader, SenderJudge
from leasebox.mail.model import LARGE, SMALL, WAKE_MAILBOX, WAKE_PARSER
from leasebox.mail.parse_pool import ParsePool
from leasebox.mail.sender_auth import SenderCheck
from leasebox.mail.smtp import Limits, Offer, SmtpServer, serve
from leasebox.mail.smtp_intake import Intake
from leasebox.wiring import process
from tests.databases import drop
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House, opened, settings_for

SENDER = "sender@shop.example"
CODE_MAIL = (
    b"From: Shop <no-reply@shop.example>\r\nTo: you@inbox.leasebox.test\r\nSubject: Your code\r\n"
    b"Message-ID: <%d@shop.example>\r\n\r\nYour verification code is 4812%02d.\r\n"
)
# Mail is no matter of money here: nobody runs out of free calls.
FREE = """
[meters]
"mailbox.lease" = {free = 1000000, window = "hour", price = "0.001000"}
"message.read" = {free = 1000000, window = "day", price = "0.001000"}
"message.send" = {free = 1000000, window = "day", price = "0.001000"}
"""
PATIENCE_S = 20.0


def mail(subject: str = "Hello", text: str = "Hello there.", **fields: str) -> bytes:
    """A plain mail; `fields` are header fields, `_` in their names standing for `-`."""
    header = {"From": "Shop <no-reply@shop.example>", "Subject": subject}
    header |= {name.replace("_", "-").title(): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in header.items()]
    body = text.replace("\n", "\r\n")
    return ("\r\n".join([*lines, "", body]) + "\r\n").encode()


def code_mail(number: int) -> bytes:
    """A mail with the code 4812 and two digits of the number."""
    return CODE_MAIL % (number, number % 100)


@contextlib.asynccontextmanager
async def database(engines: EngineUrls, template: str) -> AsyncIterator[str]:
    """A migrated database; its URL."""
    assert engines.database_url is not None
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(engines.database_url)
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield urlsplit(engines.database_url)._replace(path=f"/{name}").geturl()
        await drop(engines.database_url, name)
    finally:
        await server.close()


@pytest.fixture(scope="module")
async def shared_house(
    engines: EngineUrls, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """One house for all tests of a module, which keep apart by being tenants of their own. Its clock only goes on."""
    home = tmp_path_factory.mktemp("home")
    async with database(engines, template) as url:
        assert engines.redis_url is not None
        (home / "prices.toml").write_text(FREE)
        settings = settings_for(url, engines.redis_url, str(home), LEASEBOX_PRICES=str(home / "prices.toml"))
        async with opened(settings, FakeClock()) as house:
            yield house


@pytest.fixture(scope="module")
async def shared_post(shared_house: House) -> AsyncIterator["Post"]:
    """The shared house with mail coming in."""
    async with receiving(shared_house) as post:
        yield post


class Post:
    """Sends mails to a house over SMTP, and waits until they have been parsed."""

    def __init__(self, house: House, server: SmtpServer) -> None:
        self.house = house
        self.server = server

    async def send(self, raw: bytes, *to: str, sender: str = SENDER) -> str:
        """One mail over a connection of its own; the reply to its content, or the first refusal before that."""
        async with self.wire() as wire:
            for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{address}>" for address in to)):
                reply = await wire.ask(line)
                if not reply.startswith("250"):
                    return reply
            return await wire.content(raw)

    async def rcpt(self, address: str) -> str:
        """The reply to RCPT TO."""
        async with self.wire() as wire:
            await wire.ask(f"MAIL FROM:<{SENDER}>")
            return await wire.ask(f"RCPT TO:<{address}>")

    async def deliver(self, raw: bytes, *to: str, sender: str = SENDER) -> list[str]:
        """Send, insist on the 250, wait until all has been parsed; the ids of the messages."""
        reply = await self.send(raw, *to, sender=sender)
        assert reply.startswith("250"), reply
        await self.parsed()
        return re.findall(r"msg_\w+", reply)

    async def parsed(self) -> None:
        """Wait until no mail waits for a parser."""
        await until(self._is_idle)

    async def _is_idle(self) -> bool:
        return not await value(self.house, "SELECT count(*) FROM mails WHERE state = 'pending'")

    @contextlib.asynccontextmanager
    async def wire(self) -> AsyncIterator["Wire"]:
        """A session that has said EHLO."""
        reader, writer = await asyncio.open_connection(*self.server.addresses[0])
        wire = Wire(reader, writer)
        try:
            await wire.hear()
            await wire.ask("EHLO client.example")
            yield wire
        finally:
            writer.transport.abort()


class Wire:
    """The sender's side of an SMTP session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, line: str) -> str:
        """Say a command; the last line of the reply."""
        self._writer.write(line.encode() + b"\r\n")
        return await self.hear()

    async def content(self, raw: bytes) -> str:
        """DATA with these octets, which end with CRLF; the reply to them."""
        reply = await self.ask("DATA")
        if not reply.startswith("354"):
            return reply
        self._writer.write(re.sub(rb"(\A|\r\n)\.", rb"\1..", raw) + b".\r\n")
        return await self.hear()

    async def hear(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            while (line := await self._reader.readline())[3:4] == b"-":
                pass
        return line.decode().rstrip()


@contextlib.asynccontextmanager
async def receiving(house: House, **policy: Any) -> AsyncIterator[Post]:
    """SMTP and a parser; `policy` changes the house's leasing policy, such as its quotas."""
    async with accepting(house, **policy) as post, parsing(house):
        yield post


@contextlib.asynccontextmanager
async def accepting(house: House, **policy: Any) -> AsyncIterator[Post]:
    """SMTP only: what is stored waits for a parser."""
    async with accepting_by(house, intake_of(house, **policy)) as post:
        yield post


@contextlib.asynccontextmanager
async def accepting_by(house: House, intake: GroupIntake) -> AsyncIterator[Post]:
    """The same by an intake of the test's own."""
    committing = asyncio.create_task(intake.run())
    try:
        async with serving(house, intake) as post:
            yield post
    finally:
        await cancelled(committing)


@contextlib.asynccontextmanager
async def serving(house: House, intake: Intake) -> AsyncIterator[Post]:
    """An SMTP server on a free port before any intake."""
    server = await serve(
        intake,
        host="127.0.0.1",
        port=0,
        offer=Offer("mx.leasebox.test", house.settings.mail_domain),
        clock=house.clock,
        limits=Limits(per_client=0),
    )
    try:
        yield Post(house, server)
    finally:
        await server.close(grace_s=1)


def intake_of(house: House, **policy: Any) -> GroupIntake:
    """The intake of the smtp role, not running yet."""
    changed = msgspec.structs.replace(process.lease_policy(house.settings), **policy)
    return GroupIntake(house.db, changed, house.clock)


@contextlib.asynccontextmanager
async def parsing(
    house: House, reader: Reader | None = None, judge: SenderJudge | None = None, desk: HouseDesk | None = None
) -> AsyncIterator[Parser]:
    """The parser role's work, until the context ends."""
    pool, nobody, stop = ParsePool(), SenderCheck(None), asyncio.Event()
    parser = Parser(house.db, reader or pool, judge or nobody, house.clock, desk)
    with house.hub.listening(WAKE_PARSER, SMALL) as small, house.hub.listening(WAKE_PARSER, LARGE) as large:
        running = asyncio.create_task(parser.run(small, large, stop))
        try:
            yield parser
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_S):
                await running
            nobody.close()
            await pool.close()


async def listens(house: House) -> None:
    """Wait until the house's hub hears what is published, so that a test of quickness measures no start."""
    with house.hub.listening("probe", word := uuid4().hex) as heard:

        async def told() -> bool:
            await house.base.cache.publish([Wake("probe", word)])
            return heard.is_set()

        await until(told)


async def heeded(house: House, mailbox_id: str, waiters: int = 1, *, unless: "asyncio.Task[Any] | None" = None) -> None:
    """Wait until so many callers wait for a mailbox's mail: without `since` a wait counts from where it begins.

    unless: a wait that may also have been answered.
    """

    async def listened_for() -> bool:
        waiting = len(house.hub._waiters.get(f"{WAKE_MAILBOX} {mailbox_id}", ()))
        return waiting >= waiters or (unless is not None and unless.done())

    await until(listened_for)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that must come true and has no event of its own."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.005)


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def vector_mails() -> Iterator[Path]:
    """Real, legacy and malformed mails that others collected; none where the vectors are absent."""
    folder = Path(__file__).parents[1].parent / "shared" / "vectors" / "eml"
    return iter(sorted(folder.glob("*/*.eml")))


async def messages_of(agent: Agent, **query: Any) -> list[dict[str, Any]]:
    """What the agent's list shows, newest first."""
    answer = await agent.http.get("/v2/messages", params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def value(house: House, sql: str, *values: Any) -> Any:
    """The first column of the first row of a query."""
    return await house.db.read(lambda tx: tx.value(sql, *values))


async def rows(house: House, sql: str, *values: Any) -> list[Any]:
    """All rows of a query."""
    return list(await house.db.read(lambda tx: tx.all(sql, *values)))


async def change(house: House, sql: str, *values: Any) -> int:
    """How many rows a statement touched; for what only an operator or another process does."""
    return await house.db.transact(lambda tx: tx.run(sql, *values))


async def statuses(calls: Sequence[Awaitable[Any]]) -> list[int]:
    """The sorted statuses of calls made at once."""
    return sorted(answer.status_code for answer in await asyncio.gather(*calls))
