"""Bodies without end: sent as they come, cut off when nobody takes them, closed when the reader leaves."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from litestar import Litestar, get

from leasebox.infra.web import streaming
from leasebox.infra.web.streaming import EndlessBody, SlowReader, chunked


class Reader:
    """Takes what an application sends, or does not."""

    def __init__(self, app: Litestar) -> None:
        self.sent: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.leaves = asyncio.Event()
        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": []}
        self.task: asyncio.Task[None] = asyncio.create_task(app(scope, self._receive, self._send))  # type: ignore[arg-type]
        self._asked = False

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)

    async def over(self) -> None:
        async with asyncio.timeout(10):
            await self.task


def application(chunks: AsyncGenerator[bytes, None]) -> Litestar:
    @get("/", media_type="text/event-stream")
    async def body() -> EndlessBody:
        return EndlessBody(chunks, media_type="text/event-stream", headers={"x-a": "b"})

    return Litestar([body], openapi_config=None)


async def test_a_body_that_ends_is_whole() -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"one "
        yield b"two"

    reader = Reader(application(chunks()))
    await reader.over()
    assert reader.body == b"one two"
    assert reader.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    headers = dict(reader.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-a"] == b"b"
    assert b"content-length" not in headers


async def test_one_that_takes_nothing_is_cut_off_and_the_body_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PATIENCE_S", 0.1)
    said: list[str] = []

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
                reader.takes.clear()
        except SlowReader as fault:
            said.append(str(fault.reason))
            raise

    reader = Reader(application(chunks()))
    await reader.over()
    assert said == ["slow_reader"]
    assert reader.body == b"x"
    assert reader.sent[-1]["more_body"] is True  # no proper end: the reader knows that it was cut off


async def test_the_body_is_closed_when_the_reader_leaves() -> None:
    closed = asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            closed.set()

    reader = Reader(application(chunks()))
    while not reader.body:
        await asyncio.sleep(0)
    reader.leaves.set()
    await reader.over()
    assert closed.is_set()


async def test_a_fault_of_the_body_is_not_swallowed() -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"x"
        raise LookupError("mistake")

    reader = Reader(application(chunks()))
    with pytest.raises(Exception, match="after response started"):
        await reader.over()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        ([b"abc"], [b"abc"]),
        ([b"ab", b"c", b"d"], [b"abc", b"d"]),
        ([b"abcdef", b"g"], [b"abcdef", b"g"]),
        ([b"a", b"bcdef"], [b"a", b"bcdef"]),
    ],
)
def test_pieces_are_joined_to_chunks(pieces: list[bytes], expected: list[bytes]) -> None:
    assert chunked(pieces, 3) == expected
