"""A body without end, whose reader must keep up: one that takes nothing for a while is cut off, not buffered for.

The server holds few chunks for a connection and then lets `send` wait, so that the time a send takes tells of the
reader. Keep chunks small: what it holds is memory that a reader who stands still costs.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from litestar import Litestar, Request
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse, Stream

from leasebox.values.errors import LeaseboxError

PATIENCE_S = 20.0


class SlowReader(LeaseboxError):
    """Thrown into the generator of the body when its reader has taken nothing for `PATIENCE_S`."""

    reason = "slow_reader"
    fix = "Read faster, and connect again with the last event id that you have: nothing is lost or repeated."


class EndlessBody(Stream):
    """A response from an async generator of chunks, which is closed when the reader leaves."""

    def to_asgi_response(
        self,
        app: Litestar | None,
        request: Request[Any, Any, Any],
        *,
        cookies: Iterable[Any] | None = None,
        encoded_headers: Iterable[tuple[bytes, bytes]] | None = None,
        headers: dict[str, str] | None = None,
        media_type: Any = None,
        status_code: int | None = None,
        **rest: Any,
    ) -> ASGIResponse:
        """As Litestar calls it to make the answer."""
        del app, request, rest
        return _Cut(
            iterator=self.iterator,  # type: ignore[arg-type]
            cookies=[*self.cookies, *(cookies or ())],
            encoded_headers=encoded_headers,
            headers={**(headers or {}), **self.headers},
            media_type=self.media_type or media_type,
            status_code=self.status_code or status_code,
        )


class _Cut(ASGIStreamingResponse):
    """Sends until the chunks end, the reader leaves, or a send takes too long."""

    async def send_body(self, send: Any, receive: Any) -> None:
        chunks: Any = self.iterator
        telling = asyncio.ensure_future(_tell(chunks, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
            await chunks.aclose()


async def _tell(chunks: AsyncGenerator[bytes, None], send: Any) -> None:
    async for chunk in chunks:
        if not await _sent(send, chunk):
            # The body stays without its end: the server closes the connection.
            with contextlib.suppress(SlowReader, StopAsyncIteration):
                await chunks.athrow(SlowReader("The reader took nothing for too long."))
            return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _sent(send: Any, chunk: bytes) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        return True
    return False


async def _left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def chunked(pieces: Iterable[bytes], most_bytes: int) -> list[bytes]:
    """Pieces joined to chunks of up to so many bytes; a larger piece is a chunk of its own."""
    chunks: list[bytes] = []
    current: list[bytes] = []
    size = 0
    for piece in pieces:
        if current and size + len(piece) > most_bytes:
            chunks.append(b"".join(current))
            current, size = [], 0
        current.append(piece)
        size += len(piece)
    return [*chunks, b"".join(current)] if current else chunks
