"""Events as they happen: each once, taken up again where a connection broke, ended for a reason."""

import json
from collections.abc import Iterator
from itertools import islice

import httpx
import pytest

from leasebox.client import ApiError, Client, Patience, UnexpectedAnswer, Unreachable
from tests.client.fake_server import EVENT, URL, Answer, FakeServer, problem, stream

PATH = ("GET", "/v2/events")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def client(server: FakeServer, slept: list[float] | None = None, **more: object) -> Client:
    pauses = [] if slept is None else slept
    return Client(URL, server.issue(), http=server.http(), sleep=pauses.append, **more)  # type: ignore[arg-type]


def numbered(*numbers: int) -> str:
    return stream(*(EVENT | {"event_id": f"evt_{number:02}"} for number in numbers))


def said(text: str) -> Answer:
    return Answer(200, text=text, headers={"content-type": "text/event-stream"})


def test_events_come_with_what_was_asked(server: FakeServer) -> None:
    found = next(client(server).events(["message.received", "otp.extracted"], ["mbx_01"], after="evt_00"))
    assert (found.event_id, found.type, found.data) == ("evt_01", "message.received", {"message_id": "msg_01"})
    asked = server.calls[0]
    assert asked.url.params.get_list("types") == ["message.received", "otp.extracted"]
    assert asked.url.params.get_list("mailbox_id") == ["mbx_01"]
    assert asked.headers["last-event-id"] == "evt_00"
    assert asked.headers["authorization"].startswith("Bearer ")


def test_a_broken_connection_is_taken_up_behind_the_last_event(server: FakeServer) -> None:
    class Cut(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield numbered(1, 2).encode()
            yield b"id: evt_03\nevent: message.received\ndata: {half"
            raise httpx.ReadError("cut")

    server.script[PATH] = [
        lambda _: Answer(200, stream=Cut()),
        said(numbered(3)),
        problem(503, "unavailable", retry_after=2),
        said(numbered(4)),
    ]
    slept: list[float] = []
    found = list(islice(client(server, slept).events(), 4))
    assert [each.event_id for each in found] == ["evt_01", "evt_02", "evt_03", "evt_04"]
    places = [call.headers.get("last-event-id") for call in server.calls]
    assert places == [None, "evt_02", "evt_03", "evt_03"]
    assert slept == [0.5, 2]


def test_the_place_before_any_event_counts_too(server: FakeServer) -> None:
    server.script[PATH] = [said(stream()), said(numbered(1))]
    assert next(client(server).events()).event_id == "evt_01"
    assert server.calls[1].headers["last-event-id"] == "evt_00"


def test_an_end_with_a_reason_is_told(server: FakeServer) -> None:
    gone = json.dumps({"status": 410, "error": "lease_ended", "message": "It has ended.", "fix": "Lease anew."})
    server.script[PATH] = [said(numbered(1) + f"event: stream.closed\ndata: {gone}\n\n")]
    events = client(server).events()
    assert next(events).event_id == "evt_01"
    with pytest.raises(ApiError) as told:
        next(events)
    assert (told.value.status, told.value.error, told.value.fix) == (410, "lease_ended", "Lease anew.")


def test_a_server_that_stops_is_asked_again(server: FakeServer) -> None:
    stopping = json.dumps({"status": 503, "error": "unavailable", "message": "Stopping."})
    server.script[PATH] = [said(f"event: stream.closed\ndata: {stopping}\n\n"), said(numbered(1))]
    assert next(client(server).events()).event_id == "evt_01"


def test_a_session_that_ended_is_renewed_once(server: FakeServer) -> None:
    renewed: list[int] = []
    box = Client(URL, "stale", http=server.http(), sleep=lambda _: None, on_expiry=lambda: renewed.append(1))
    with pytest.raises(ApiError, match="401"):
        next(box.events())
    assert renewed == [1]
    assert len(server.calls) == 2


def test_a_server_that_says_nothing_is_not_hammered(server: FakeServer) -> None:
    server.script[PATH] = [said(""), said(": still here\n\n"), said(numbered(1))]
    slept: list[float] = []
    assert next(client(server, slept).events()).event_id == "evt_01"
    assert slept == [1.0, 1.0]


def test_patience_ends(server: FakeServer) -> None:
    server.script[PATH] = [httpx.ConnectError("refused") for _ in range(9)]
    with pytest.raises(Unreachable, match="refused"):
        next(client(server, patience=Patience(tries=3)).events())
    assert len(server.calls) == 3


@pytest.mark.parametrize("status", [400, 403, 404])
def test_other_refusals_are_final(server: FakeServer, status: int) -> None:
    server.script[PATH] = [problem(status, "some_code")]
    with pytest.raises(ApiError, match=str(status)):
        next(client(server).events())
    assert len(server.calls) == 1


def test_time_is_up(server: FakeServer) -> None:
    assert list(client(server).events(timeout_s=0)) == []
    assert server.calls == []
    next(client(server).events(timeout_s=7200))
    assert server.calls[0].url.params["timeout_s"] == "3600"


@pytest.mark.parametrize("told", ["id: evt_09\ndata: {}\n\n", "data: <html>\n\n", "data: 5\ndata: 6\n\n"])
def test_what_is_no_event_is_told(server: FakeServer, told: str) -> None:
    server.script[PATH] = [said(told)]
    with pytest.raises(UnexpectedAnswer):
        next(client(server).events())
