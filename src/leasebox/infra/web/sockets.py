"""A WebSocket for text: one send at a time, each within a time, and one name for every way it can break off."""

import asyncio
import contextlib
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from leasebox.infra.web.streaming import PATIENCE_S, SlowReader
from leasebox.values.errors import BadRequest, TooLarge

MOST_CHARS = 16 * 1024


class LeftError(Exception):
    """The other side has gone."""


class TextSocket:
    """The server's end of a WebSocket whose handshake was accepted."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self._socket = socket
        self.sending = asyncio.Lock()

    async def hear(self) -> str:
        """The next message. Raises LeftError, BadRequest for a binary one, TooLarge."""
        try:
            event: Any = await self._socket.receive()
        except (WebSocketDisconnect, RuntimeError):  # a server tells of a lost transport by RuntimeError
            raise LeftError from None
        if event["type"] != "websocket.receive":
            raise LeftError
        text: str | None = event.get("text")
        if text is None:
            raise BadRequest("Messages are text, not binary.", fix="Send JSON in text frames.")
        if len(text) > MOST_CHARS:
            raise TooLarge(f"A message has at most {MOST_CHARS} characters.", fix="Send a smaller message.")
        return text

    async def say(self, text: str) -> None:
        """Send a message. Raises LeftError, SlowReader when it is not taken within `PATIENCE_S`."""
        try:
            async with self.sending, asyncio.timeout(PATIENCE_S):
                await self._socket.send_text(text)
        except TimeoutError:
            raise SlowReader("The reader took nothing for too long.") from None
        except (WebSocketDisconnect, RuntimeError):
            raise LeftError from None

    async def close(self, code: int, reason: str) -> None:
        """End the connection (RFC 6455 §7.4), whatever state it is in. reason: up to 123 bytes."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._socket.close(code, reason)
