"""Reading on while refusing: who is cut off in the middle of a body never reads what the refusal says.

A server that answers early closes the connection under the octets that still come, TCP answers these with a reset, and
the client drops what it has not read yet. So a refusal waits for the rest of the body, within bounds (RFC 9112 §9.6).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

_LARGE = 64 * 1024
_MOST = 64 * 1024 * 1024
_SECONDS = 5.0


def lingers(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request's body may be more than its sender's socket takes. One who waits for `100 Continue` sends
    nothing before the answer."""
    length = headers.get(b"content-length", b"")
    is_large = b"transfer-encoding" in headers or (length.isdigit() and int(length) > _LARGE)
    return is_large and b"expect" not in headers


class Remainder:
    """A request's `receive`, and what has not been received through it."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._is_over = False

    async def __call__(self) -> Any:
        message = await self._receive()
        self._is_over = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def forget(self) -> None:
        """Receive the rest, up to 64 MiB within 5 seconds."""
        left = _MOST
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                while not self._is_over and left > 0:
                    left -= len((await self()).get("body", b""))
