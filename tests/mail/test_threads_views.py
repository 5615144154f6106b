"""Threads as the API shows them: every field, none beside it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from leasebox.mail.threads import Summary
from leasebox.mail.threads_views import thread_item, thread_view
from leasebox.values.ids import LeaseId, MailboxId, MessageId, ThreadId
from tests.mail.test_views import ITEM_FIELDS, row

NOW = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
FIELDS = {
    "thread_id",
    "mailbox_id",
    "lease_id",
    "subject",
    "preview",
    "participants",
    "message_count",
    "sent_count",
    "unread_count",
    "labels",
    "has_attachments",
    "size_bytes",
    "started_at",
    "last_message_at",
    "last_message_id",
}


def summary() -> Summary:
    """What the store gives."""
    stored: Any = {
        "thread_id": ThreadId.new(NOW),
        "mailbox_id": MailboxId.new(NOW),
        "lease_id": LeaseId.new(NOW),
        "subject": "Lunch",
        "preview": "Yes",
        "message_count": 3,
        "sent_count": 1,
        "unread_count": 1,
        "labels": ["received", "sent", "unread"],
        "has_attachments": False,
        "size_bytes": 900,
        "started_at": NOW,
        "last_message_at": NOW,
        "last_message_id": MessageId.new(NOW),
    }
    people: Any = ({"name": "Ada", "address": "ada@x.example"},)
    return Summary(UUID(int=1), stored, people)


def test_an_item_has_its_fields() -> None:
    shown = msgspec.json.decode(msgspec.json.encode(thread_item(summary())))
    assert set(shown) == FIELDS
    assert shown["participants"] == [{"name": "Ada", "address": "ada@x.example"}]
    assert (shown["started_at"], shown["thread_id"][:4], shown["last_message_id"][:4]) == (
        "2026-11-20T10:02:24Z",
        "thr_",
        "msg_",
    )


def test_a_thread_has_messages_besides() -> None:
    rows: Any = [{**row(), "extracted_text": "Yes", "is_cut": False}]
    shown = msgspec.json.decode(msgspec.json.encode(thread_view(summary(), rows, "next")))
    assert set(shown) == FIELDS | {"messages", "next_cursor"}
    assert set(shown["messages"][0]) == ITEM_FIELDS | {"extracted_text", "is_cut"}
    assert (shown["next_cursor"], thread_view(summary(), [], None).next_cursor) == ("next", None)
