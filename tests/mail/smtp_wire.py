"""A client and a server on real sockets, on both event loops, for the tests of the SMTP server."""

import asyncio
import contextlib
import functools
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop

from leasebox.infra.tls import CertificatePair, ensure_certificate
from leasebox.mail.smtp import SmtpServer, serve
from leasebox.values.clock import SystemClock
from tests.mail.smtp_house import OFFER, MemoryIntake, codes

EHLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<ann@inbox.example>\r\n"
CONTENT = b"Subject: x\r\n\r\nhello\r\n"
MAIL = ENVELOPE + b"DATA\r\n" + CONTENT + b".\r\n"
MAIL_CODES = ["250/2.1.0", "250/2.1.5", "354", "250/2.0.0"]
PATIENCE_S = 10.0


def on_both_loops(test: Callable[[], Awaitable[None]]) -> Callable[[Any], None]:
    """Run an async test on asyncio's loop and on uvloop, as in production; in a thread of its own."""

    @pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def run(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def bounded() -> None:
            try:
                async with asyncio.timeout(60):
                    await test()
            finally:
                await Client.leave_all()

        def in_thread() -> None:
            with asyncio.Runner(loop_factory=make_loop) as runner:
                runner.run(bounded())

        # Nobody waits for the thread of a test that ran into its limit: it may never end.
        pool = ThreadPoolExecutor(1)
        try:
            pool.submit(in_thread).result()
        finally:
            pool.shutdown(wait=False)

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    return run


@functools.cache
def certificate() -> CertificatePair:
    """A certificate for 127.0.0.1, made once."""
    return ensure_certificate(Path(tempfile.mkdtemp(prefix="leasebox-tls-")), ["127.0.0.1"], SystemClock())


@asynccontextmanager
async def serving(intake: MemoryIntake, **settings: Any) -> AsyncIterator[SmtpServer]:
    """A server on a free port, closed at the end, which must leave nothing held."""
    settings = {"offer": OFFER, "clock": SystemClock(), **settings}
    server = await serve(intake, host="127.0.0.1", port=0, **settings)
    try:
        yield server
    finally:
        await Client.leave_all()
        await server.close(grace_s=0.5)
    assert (server.connections, server.held_octets) == (0, 0)


class Client:
    """The sender's side: says octets, hears replies."""

    opened: ClassVar[list["Client"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: SmtpServer) -> "Client":
        """Connect; nothing is read yet."""
        client = cls(*await asyncio.open_connection(*server.addresses[0]))
        cls.opened.append(client)
        return client

    @classmethod
    async def greeted(cls, server: SmtpServer) -> "Client":
        """Connect and say EHLO."""
        client = await cls.open(server)
        assert await client.ask(EHLO, 2) == ["220", "250"]
        return client

    async def say(self, octets: bytes) -> None:
        """Write."""
        self.writer.write(octets)
        await self.writer.drain()

    async def hear(self, replies: int) -> list[str]:
        """Read so many replies, fewer if the server closes."""
        heard = bytearray()
        count = 0
        async with asyncio.timeout(PATIENCE_S):
            while count < replies and (line := await self.reader.readline()):
                heard += line
                count += line[3:4] == b" "
        return codes(bytes(heard))

    async def ask(self, octets: bytes, replies: int) -> list[str]:
        """Say, then hear."""
        await self.say(octets)
        return await self.hear(replies)

    async def hear_out(self) -> list[str]:
        """Every reply until the server closes, however it does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return codes(await self.reader.read())
        except ConnectionError:
            return ["reset"]

    async def start_tls(self) -> None:
        """STARTTLS, verifying the server's certificate and name."""
        assert await self.ask(b"STARTTLS\r\n", 1) == ["220/2.0.0"]
        context = ssl.create_default_context(cafile=str(certificate().certificate))
        await self.writer.start_tls(context, server_hostname="127.0.0.1")

    @classmethod
    async def leave_all(cls) -> None:
        """Close whatever is still open, so that no socket outlives its test."""
        left, cls.opened[:] = list(cls.opened), []
        for client in left:
            client.leave()
        await asyncio.sleep(0.01)

    def leave(self) -> None:
        """Close without QUIT."""
        # asyncio's TLS transport of Python 3.11 forgets its protocol once it has been closed twice.
        with contextlib.suppress(AttributeError):
            self.writer.transport.abort()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that must come true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)
