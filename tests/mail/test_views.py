"""Rows as the API shows them: every field of the contract, and none beside it."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from leasebox.mail import parse_worker, service
from leasebox.mail.views import ATTACHMENT_PREFIX, item, whole
from leasebox.values.ids import LeaseId, MailboxId, MessageId, ThreadId

NOW = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
AUTH = {"spf": "pass", "dkim": "none", "dmarc": "pass"}
RAW = (
    b"From: =?utf-8?q?Caf=C3=A9?= <shop@cafe.example>\r\nTo: a@x.example, Bee <b@x.example>\r\nCc: c@x.example\r\n"
    b"Reply-To: help@cafe.example\r\nSubject: Code\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nYour verification code is 482913.\r\n"
    b"--b\r\nContent-Type: image/png; name=logo.png\r\nContent-Disposition: attachment\r\n\r\npng\r\n--b--\r\n"
)
ITEM_FIELDS = {
    "message_id",
    "mailbox_id",
    "lease_id",
    "thread_id",
    "direction",
    "sender",
    "sender_name",
    "sender_domain",
    "to",
    "subject",
    "preview",
    "received_at",
    "otp_code",
    "verification_link",
    "parsed_status",
    "labels",
    "has_attachments",
    "size_bytes",
    "raw_ref",
    "auth",
}
WHOLE_FIELDS = ITEM_FIELDS | {
    "cc",
    "reply_to",
    "envelope_sender",
    "headers",
    "text",
    "extracted_text",
    "html",
    "attachments",
    "extraction",
    "defects",
}


def row() -> dict[str, Any]:
    """What the stores give for RAW."""
    reading = parse_worker.read(RAW)
    fresh = service.fresh_message(reading.mail, reading.extraction, AUTH)
    return {
        **msgspec.to_builtins(fresh),
        "id": MessageId.new(NOW),
        "mailbox_id": MailboxId.new(NOW),
        "lease_id": LeaseId.new(NOW),
        "thread_id": ThreadId.new(NOW),
        "direction": "inbound",
        "received_at": NOW,
        "size_bytes": len(RAW),
        "has_attachments": bool(fresh.attachments),
        "labels": ["received", "unread"],
        "body_text": fresh.text,
        "extracted_text": "new",
        "body_html": fresh.html,
        "envelope_sender": "bounce@cafe.example",
    }


def shown(view: Any) -> dict[str, Any]:
    """What the view looks like in JSON."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(view))
    return made


def test_an_item_has_the_fields_of_the_contract() -> None:
    made = row()
    view = shown(item(made))  # type: ignore[arg-type]
    assert set(view) == ITEM_FIELDS
    assert (view["sender"], view["sender_name"], view["sender_domain"]) == ("shop@cafe.example", "Café", "cafe.example")
    assert view["to"] == [{"name": "", "address": "a@x.example"}, {"name": "Bee", "address": "b@x.example"}]
    assert view["message_id"] == str(made["id"])
    assert view["raw_ref"] == f"/v2/messages/{made['id']}/raw"
    assert (view["otp_code"], view["parsed_status"], view["received_at"]) == (
        "482913",
        "parsed",
        "2026-11-20T10:02:24Z",
    )
    assert view["auth"] == AUTH
    assert view["has_attachments"] is True


def test_a_whole_message_has_the_rest() -> None:
    view = shown(whole(row()))  # type: ignore[arg-type]
    assert set(view) == WHOLE_FIELDS
    assert view["cc"] == [{"name": "", "address": "c@x.example"}]
    assert view["reply_to"] == [{"name": "", "address": "help@cafe.example"}]
    assert view["envelope_sender"] == "bounce@cafe.example"
    assert {"name": "Subject", "value": "Code"} in view["headers"]
    assert view["text"].strip() == "Your verification code is 482913."
    assert view["extracted_text"] == "new"
    assert view["html"] is None
    (attachment,) = view["attachments"]
    assert attachment["attachment_id"].startswith(ATTACHMENT_PREFIX)
    assert (attachment["filename"], attachment["content_type"]) == ("logo.png", "image/png")
    assert attachment["size_bytes"] == 3
    (code,) = view["extraction"]["codes"]
    assert set(code) == {"code", "confidence", "evidence", "visible"}
    assert (code["code"], code["visible"]) == ("482913", True)
    assert 0 < code["confidence"] <= 1
    assert "482913" in code["evidence"]


def test_a_mail_without_anything_is_shown_too() -> None:
    reading = parse_worker.read(b"")
    fresh = service.fresh_message(reading.mail, reading.extraction, AUTH)
    bare = (
        row()
        | msgspec.to_builtins(fresh)
        | {"body_text": "", "extracted_text": "", "body_html": None, "extraction": {}}
    )
    view = shown(whole(bare))
    assert (view["subject"], view["sender"], view["to"], view["attachments"]) == ("", "", [], [])
    assert view["extraction"] == {"codes": [], "links": []}
