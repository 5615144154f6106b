"""Server-sent events (WHATWG HTML §9.2) as bytes. Pure."""

from typing import Any

import msgspec

from leasebox.live.feed import Told

HEARTBEAT = b": still here\n\n"
CLOSED = "stream.closed"
"""The last event of a stream that we end: its data is the problem that HTTP would answer with."""

_RETRY_MS = 1_000


def opening(event_id: str) -> bytes:
    """The beginning: how long to wait before connecting again, and the id to do so from before any event came."""
    return b"retry: %d\nid: %b\n\n" % (_RETRY_MS, event_id.encode())


def event(told: Told) -> bytes:
    """One event; JSON has no bare line ends, so it is one `data` line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (told.event_id.encode(), told.type.encode(), told.json)


def closed(problem: dict[str, Any]) -> bytes:
    """Why the stream ends now. It has no id, so that whoever connects again goes on from the last event."""
    return b"event: %b\ndata: %b\n\n" % (CLOSED.encode(), msgspec.json.encode(problem, enc_hook=str))
