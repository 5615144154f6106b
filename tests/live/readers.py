"""Readers of event streams that drive the application in this process, and the worker's loop that numbers facts."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

from leasebox.infra import facts_loop
from leasebox.infra.facts_log import WAKE_NEW_FACTS, Fact, append
from leasebox.values.facts import MESSAGE_RECEIVED
from leasebox.values.ids import LeaseId, MailboxId, TenantId
from tests.kit import Agent, House

PATIENCE_S = 20.0
ROUTE = "/v2/events"
SOCKET = "/v2/events/ws"


@contextlib.asynccontextmanager
async def publishing(house: House) -> AsyncIterator[None]:
    """The worker's loop over facts."""
    stop = asyncio.Event()
    with house.hub.listening(WAKE_NEW_FACTS, "") as woken:
        running = asyncio.create_task(facts_loop.run(house.db, (), woken, stop))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_S):
                await running


async def happen(house: House, agent: Agent, *names: str, type_: str = MESSAGE_RECEIVED, mailbox: str = "") -> None:
    """Facts of an agent's tenant, one transaction each."""
    tenant_id = TenantId.parse(agent.session["tenant_id"])
    mailbox_id = MailboxId.parse(mailbox) if mailbox else None
    for name in names:
        now = house.clock.now()
        one = Fact(tenant_id, mailbox_id, LeaseId.new(now) if mailbox else None, type_, {"name": name}, now)
        await house.db.transact(lambda tx, one=one: append(tx, [one]))  # type: ignore[misc]


class Sse:
    """One answer of the application, as it comes. events: (id, type, data) of those that came."""

    def __init__(self, app: Any, path: str, query: Sequence[tuple[str, str]], headers: dict[str, str]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.stalled = asyncio.Event()
        self.stalled.set()
        self._leave = asyncio.Event()
        self._changed = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": urlencode(query).encode(),
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
            "client": ("127.0.0.1", 40_000),
            "server": ("leasebox.test", 80),
        }
        self._asked = False
        self._task = asyncio.create_task(app(scope, self._receive, self._send))
        self._task.add_done_callback(lambda _: self._changed.set())

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.stalled.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): text.decode() for name, text in message["headers"]}
        else:
            self.body += message["body"]
            if not message.get("more_body"):
                self._leave.set()
        self._changed.set()

    @property
    def is_over(self) -> bool:
        return self._task.done()

    @property
    def blocks(self) -> list[dict[str, str]]:
        """The fields of each block that has ended, comments under an empty name."""
        return [
            {line.partition(":")[0]: line.partition(":")[2].lstrip() for line in block.split("\n")}
            for block in self.body.decode().split("\n\n")[:-1]
        ]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The data of all events but the last words."""
        return [json.loads(each["data"]) for each in self.blocks if "data" in each and "id" in each]

    @property
    def names(self) -> list[str]:
        return [each["data"].get("name", each["type"]) for each in self.events]

    @property
    def last_id(self) -> str:
        return [each["id"] for each in self.blocks if "id" in each][-1]

    @property
    def closed(self) -> dict[str, Any] | None:
        """What `stream.closed` said."""
        found = [json.loads(each["data"]) for each in self.blocks if each.get("event") == "stream.closed"]
        return found[-1] if found else None

    async def begun(self) -> "Sse":
        """Wait for the first bytes of the body."""
        await self._until(lambda: bool(self.body))
        return self

    async def has(self, count: int) -> "list[str]":
        """Wait for so many events; their names."""
        await self._until(lambda: len(self.events) >= count)
        return self.names

    async def over(self) -> "Sse":
        """Wait for the end."""
        await self._until(lambda: self.is_over)
        await self._task
        return self

    async def _until(self, true: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                if self.is_over:
                    self._task.result()
                    assert true(), (self.status, self.body)
                self._changed.clear()
                await self._changed.wait()

    async def leave(self) -> None:
        """Close the connection from the reader's side."""
        self._leave.set()
        self.stalled.set()
        async with asyncio.timeout(PATIENCE_S):
            await self._task


@contextlib.asynccontextmanager
async def reading(
    house: House, token: str, query: Sequence[tuple[str, str]] = (), path: str = ROUTE, **headers: str
) -> AsyncIterator[Sse]:
    """An open stream; `headers` with `_` for `-`."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    reader = Sse(house.app, path, query, {"authorization": token, **sent})
    try:
        yield await reader.begun()
    finally:
        await reader.leave()


def bearer(agent: Agent) -> str:
    return str(agent.http.headers["authorization"])


class Socket:
    """A WebSocket to the application: JSON in, JSON out."""

    def __init__(self, app: Any, headers: dict[str, str], path: str = SOCKET) -> None:
        self.heard: list[dict[str, Any]] = []
        self.code: int | None = None
        self.stalled = asyncio.Event()
        self.stalled.set()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        self._changed = asyncio.Event()
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
            "client": ("127.0.0.1", 40_000),
            "server": ("leasebox.test", 80),
            "subprotocols": [],
        }
        self._task = asyncio.create_task(app(scope, self._said.get, self._send))
        self._task.add_done_callback(lambda _: self._changed.set())

    async def _send(self, message: dict[str, Any]) -> None:
        await self.stalled.wait()
        if message["type"] == "websocket.send":
            self.heard.append(json.loads(message["text"] if message.get("text") else message["bytes"]))
        elif message["type"] == "websocket.close":
            self.code = message.get("code", 1000)
        self._changed.set()

    def say(self, message: Any) -> None:
        """Send a message; a text as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._said.put_nowait({"type": "websocket.receive", "text": text})

    def say_bytes(self, raw: bytes) -> None:
        self._said.put_nowait({"type": "websocket.receive", "bytes": raw})

    @property
    def names(self) -> list[str]:
        """The events that came."""
        return [each["data"].get("name", each["type"]) for each in self.heard if "event_id" in each]

    @property
    def last_id(self) -> str:
        return str([each for each in self.heard if "event_id" in each][-1]["event_id"])

    async def hears(self, field: str) -> dict[str, Any]:
        """Wait for a message that has this field; the last of them."""
        await self._until(lambda: any(field in each for each in self.heard))
        return [each for each in self.heard if field in each][-1]

    async def has(self, count: int) -> list[str]:
        await self._until(lambda: len(self.names) >= count)
        return self.names

    async def over(self) -> int:
        """Wait for the end; the code it was closed with."""
        await self._until(self._task.done)
        await self._task
        assert self.code is not None
        return self.code

    async def _until(self, true: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                if self._task.done():
                    self._task.result()
                    assert true(), (self.code, self.heard)
                self._changed.clear()
                await self._changed.wait()

    async def leave(self) -> None:
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1000})
        self.stalled.set()
        async with asyncio.timeout(PATIENCE_S):
            await self._task


@contextlib.asynccontextmanager
async def connected(house: House, **headers: str) -> AsyncIterator[Socket]:
    """A WebSocket that is open."""
    socket = Socket(house.app, {name.replace("_", "-"): text for name, text in headers.items()})
    try:
        yield socket
    finally:
        await socket.leave()
