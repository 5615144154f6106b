"""Receivers of webhooks, good and bad, on loopback ports of their own."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Received(msgspec.Struct):
    """A request as it came. at: seconds of the machine's clock."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def event(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


Manner = Callable[["Receiver", Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def well(receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers 200 at once and keeps the connection."""
    del receiver, one, reader
    writer.write(OK)


def status(code: int, *fields: str, body: bytes = b"") -> Manner:
    """Answers with this status."""
    lines = [f"HTTP/1.1 {code} Said", *fields, f"Content-Length: {len(body)}", "", ""]

    async def say(
        receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del receiver, one, reader
        writer.write("\r\n".join(lines).encode() + body)

    return say


def says(raw: bytes) -> Manner:
    """Answers with these octets and closes."""

    async def say(
        receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del receiver, one, reader
        writer.write(raw)
        writer.close()

    return say


async def hangs(
    receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Takes the request and says nothing, until the other side has had enough."""
    del receiver, one, writer
    await reader.read()


async def trickles(
    receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """An octet of the head at a time, a second between."""
    del receiver, one, reader
    with contextlib.suppress(OSError):
        for octet in OK:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(1)


async def floods(
    receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A hundred megabytes."""
    del one, reader
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(1600):
            writer.write(b"x" * 65536)
            await writer.drain()
            receiver.flooded += 65536


async def resets(
    receiver: "Receiver", one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Closes the connection hard."""
    del receiver, one, reader
    writer.transport.abort()


class Receiver:
    """An HTTP server that writes down what it gets and answers in its manner, which tests may change."""

    def __init__(self, manner: Manner = well) -> None:
        self.manner = manner
        self.got: list[Received] = []
        self.connections = 0
        self.flooded = 0
        self.port = 0
        self._scheme = "http"
        self._came = asyncio.Event()
        self._talks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        """The webhook-id of each request."""
        return [one.headers["webhook-id"] for one in self.got]

    async def count(self, wanted: int, within_s: float = 20) -> list[Received]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(within_s):
            while len(self.got) < wanted:
                self._came.clear()
                await self._came.wait()
        return self.got

    @contextlib.asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        """Serve for as long as the context lasts."""
        server = await asyncio.start_server(self._talk, host, self.port, ssl=tls, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._scheme = "http" if tls is None else "https"
        try:
            yield self
        finally:
            server.close()
            for talk in list(self._talks):
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while not writer.is_closing():
                one = await _request(reader, number)
                self.got.append(one)
                self._came.set()
                await self.manner(self, one, reader, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the other side has gone, or the test has ended
        finally:
            self._talks.discard(task)
            writer.transport.abort()


async def _request(reader: asyncio.StreamReader, connection: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    at = time.time()
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(at, method, path, headers, body, connection)
