"""Text over a WebSocket: what is refused, and one name for every way it breaks off."""

import asyncio
from typing import Any

import pytest
from litestar import WebSocket

from leasebox.infra.web import sockets
from leasebox.infra.web.sockets import MOST_CHARS, LeftError, TextSocket
from leasebox.infra.web.streaming import SlowReader
from leasebox.values.errors import BadRequest, TooLarge


class Wire:
    """The other side."""

    def __init__(self, *events: dict[str, Any] | Exception) -> None:
        self.events: list[dict[str, Any] | Exception] = [{"type": "websocket.connect"}, *events]
        self.sent: list[dict[str, Any]] = []
        self.fault: Exception | None = None
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> Any:
        event = self.events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    async def send(self, message: Any) -> None:
        await self.takes.wait()
        if self.fault is not None:
            raise self.fault
        if message["type"] == "websocket.send":
            self.sent.append(message)

    async def open(self) -> TextSocket:
        scope: Any = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "state": {}}
        socket: WebSocket[Any, Any, Any] = WebSocket(scope, self.receive, self.send)
        await socket.accept()
        return TextSocket(socket)


def message(**more: Any) -> dict[str, Any]:
    return {"type": "websocket.receive", **more}


async def test_texts_are_heard_and_said() -> None:
    wire = Wire(message(text="a"), message(text="b", bytes=None))
    socket = await wire.open()
    assert [await socket.hear(), await socket.hear()] == ["a", "b"]
    await socket.say("c")
    assert wire.sent[0]["text"] == "c"


@pytest.mark.parametrize(
    ("event", "refusal"),
    [
        (message(bytes=b"x"), BadRequest),
        (message(text="x" * (MOST_CHARS + 1)), TooLarge),
        ({"type": "websocket.disconnect", "code": 1000}, LeftError),
        (RuntimeError("Transport not initialized or closed"), LeftError),
    ],
    ids=["binary", "large", "left", "lost"],
)
async def test_what_is_no_text(event: dict[str, Any] | Exception, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        await (await Wire(event).open()).hear()


async def test_who_takes_nothing_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PATIENCE_S", 0.05)
    wire = Wire()
    socket = await wire.open()
    wire.takes.clear()
    with pytest.raises(SlowReader):
        await socket.say("x")
    await socket.close(1000, "still nothing")


async def test_who_has_gone_hears_nothing() -> None:
    wire = Wire({"type": "websocket.disconnect", "code": 1000})
    socket = await wire.open()
    with pytest.raises(LeftError):
        await socket.hear()
    with pytest.raises(LeftError):
        await socket.say("x")
    await socket.close(1000, "again")
    wire = Wire()
    socket = await wire.open()
    wire.fault = RuntimeError("closed")
    with pytest.raises(LeftError):
        await socket.say("x")
    await socket.close(1000, "again")


async def test_messages_are_said_one_at_a_time() -> None:
    wire = Wire()
    socket = await wire.open()
    async with socket.sending:
        saying = asyncio.create_task(socket.say("x"))
        await asyncio.sleep(0.01)
        assert wire.sent == []
    await saying
    assert len(wire.sent) == 1
