"""Server-sent events as bytes, read back as a browser would."""

import json
from datetime import UTC, datetime

from leasebox.live import sse
from leasebox.live.feed import Told

AT = datetime(2026, 11, 20, tzinfo=UTC)
BODY = json.dumps({"event_id": "evt_1", "data": {"text": "line\nbreak"}}).encode()


def fields(block: bytes) -> dict[str, str]:
    assert block.endswith(b"\n\n")
    assert block.count(b"\n\n") == 1
    return dict(line.split(": ", 1) for line in block.decode().strip().split("\n"))


def test_an_event_is_one_block_with_its_id_type_and_body() -> None:
    told = fields(sse.event(Told(1, "evt_1", "message.received", None, None, AT, BODY)))
    assert told == {"id": "evt_1", "event": "message.received", "data": BODY.decode()}
    assert json.loads(told["data"])["data"]["text"] == "line\nbreak"


def test_the_beginning_gives_a_place_without_an_event() -> None:
    assert fields(sse.opening("evt_1")) == {"retry": "1000", "id": "evt_1"}


def test_the_last_words_have_no_id_so_that_readers_go_on_from_the_last_event() -> None:
    told = fields(sse.closed({"error": "closing", "at": AT}))
    assert set(told) == {"event", "data"}
    assert told["event"] == "stream.closed"
    assert json.loads(told["data"])["error"] == "closing"


def test_a_heartbeat_is_a_comment() -> None:
    assert sse.HEARTBEAT.startswith(b":")
    assert sse.HEARTBEAT.endswith(b"\n\n")
