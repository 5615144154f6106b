"""Verbs of mail going out and of conversations: what is asked, what is understood, what is done once."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.client import ApiError, Client, File
from tests.client.fake_server import SUBMITTED, URL, Answer, FakeServer, problem


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def box(server: FakeServer) -> Client:
    return Client(URL, server.issue(), http=server.http(), sleep=lambda _: None)


def body_of(server: FakeServer) -> Any:
    return json.loads(server.calls[-1].content)


def test_a_message_goes_out_as_it_was_asked(server: FakeServer, box: Client) -> None:
    done = box.send("mbx_01", "Ada <ada@shop.example>", "Hi", "Hello")
    assert body_of(server) == {"mailbox_id": "mbx_01", "to": "Ada <ada@shop.example>", "subject": "Hi", "text": "Hello"}
    assert (done.message_id, done.accepted) == ("msg_02", ("ada@shop.example",))
    assert (done.rejected[0].address, done.rejected[0].reason) == ("bob@shop.example", "suppressed")


def test_every_wish_is_passed_on(server: FakeServer, box: Client) -> None:
    box.send(
        "mbx_01",
        ["a@x.example", "b@x.example"],
        "Hi",
        html="<p>Hello</p>",
        cc=["c@x.example"],
        bcc=["d@x.example"],
        attachments=[File("a.txt", b"\x00\xff", "text/plain")],
        headers={"X-Ref": "7"},
        in_reply_to="msg_01",
        send_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
        idempotency_key="mine",
    )
    assert body_of(server) == {
        "mailbox_id": "mbx_01",
        "to": ["a@x.example", "b@x.example"],
        "subject": "Hi",
        "html": "<p>Hello</p>",
        "cc": ["c@x.example"],
        "bcc": ["d@x.example"],
        "attachments": [{"filename": "a.txt", "content_type": "text/plain", "content_base64": "AP8="}],
        "headers": {"X-Ref": "7"},
        "in_reply_to": "msg_01",
        "send_at": "2026-11-20T12:00:00Z",
    }
    assert server.calls[-1].headers["idempotency-key"] == "mine"


def test_each_call_has_a_key_of_its_own_and_is_repeated_under_it(server: FakeServer, box: Client) -> None:
    server.script["POST", "/v2/messages/send"] = [httpx.ReadTimeout("slow"), Answer(202, json=SUBMITTED)]
    box.send("mbx_01", "a@x.example", "Hi", "Hello")
    box.send("mbx_01", "a@x.example", "Hi", "Hello")
    first, again, other = (call.headers["idempotency-key"] for call in server.calls)
    assert first == again != other
    assert len(first) >= 32


@pytest.mark.parametrize(
    ("verb", "path"), [("reply", "/v2/messages/msg_01/reply"), ("reply_all", "/v2/messages/msg_01/reply-all")]
)
def test_answers(server: FakeServer, box: Client, verb: str, path: str) -> None:
    done = getattr(box, verb)("msg_01", "Thanks")
    assert (server.calls[-1].url.path, body_of(server)) == (path, {"text": "Thanks"})
    assert "idempotency-key" in server.calls[-1].headers
    assert done.thread_id == "thr_01"


def test_forwarding(server: FakeServer, box: Client) -> None:
    box.forward("msg_01", ["c@x.example"], "FYI")
    assert server.calls[-1].url.path == "/v2/messages/msg_01/forward"
    assert body_of(server) == {"to": ["c@x.example"], "text": "FYI"}


def test_refusals_are_told_whole(server: FakeServer, box: Client) -> None:
    faults = [{"path": "body.to", "message": "no address"}]
    server.script["POST", "/v2/messages/send"] = [problem(422, "unprocessable", errors=faults)]
    with pytest.raises(ApiError) as told:
        box.send("mbx_01", "x", "Hi", "Hello")
    assert told.value.fields["errors"] == faults
    assert len(server.calls) == 1


def test_attempts_are_followed_to_the_last_reply(server: FakeServer, box: Client) -> None:
    (summary,) = box.attempts("mbx_01", state="deferred")
    assert dict(server.calls[-1].url.params) == {"mailbox_id": "mbx_01", "state": "deferred", "limit": "20"}
    assert (summary.state, summary.recipient_count) == ("deferred", 1)
    whole = box.attempt(summary.send_attempt_id)
    assert (whole.recipients[0].reply_code, whole.recipients[0].state) == (451, "deferred")
    assert whole.hops[0].tries[0].replies[0].text == "4.7.1 later"
    assert box.cancel("snd_01").state == "cancelled"


def test_threads_are_listed_and_read_whole(server: FakeServer, box: Client) -> None:
    (summary,) = box.threads("mbx_01", labels=["unread", "red"])
    assert server.calls[-1].url.params.get_list("label") == ["unread", "red"]
    assert (summary.unread_count, summary.participants[0].address) == (1, "ada@shop.example")
    thread = box.thread(summary.thread_id)
    assert [each.message_id for each in thread.messages] == ["msg_01", "msg_02"]
    assert [(each.extracted_text, each.is_cut) for each in thread.messages] == [("Lunch?", False), ("Yes", True)]


def test_labels(server: FakeServer, box: Client) -> None:
    box.label("msg_01", add=["red"], remove=["unread"])
    assert body_of(server) == {"add_labels": ["red"], "remove_labels": ["unread"]}
    assert box.label_thread("thr_01", remove=["unread"]).thread_id == "thr_01"
    assert server.paths()[-1] == "PATCH /v2/threads/thr_01"


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "photo.PNG").write_bytes(b"png")
    (tmp_path / "what").write_bytes(b"\x00")
    picture, other = File.read(tmp_path / "photo.PNG"), File.read(tmp_path / "what")
    assert (picture.filename, picture.content_type, other.content_type) == (
        "photo.PNG",
        "image/png",
        "application/octet-stream",
    )
    assert base64.b64decode(picture.shown()["content_base64"]) == b"png"
    with pytest.raises(OSError, match="nowhere"):
        File.read(tmp_path / "nowhere")
