"""Threads as the API shows them. What strangers wrote stands only in fields documented as untrusted."""

from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Record

from leasebox.mail.threads import Summary
from leasebox.mail.views import AddressView, MessageItem, shared
from leasebox.values.ids import LeaseId, MailboxId, MessageId, ThreadId


class ThreadItem(msgspec.Struct):
    """A thread in a list. Untrusted: subject, preview, participants.

    subject: the oldest message's. preview: the newest one's. participants: who wrote or got (To) the newest 20
    messages, your own address among them; at most 50. labels: all that stand on any of its messages. message_count is
    sent_count and what was received together; unread_count: messages labelled `unread`. size_bytes: all together.
    """

    thread_id: str
    mailbox_id: str
    lease_id: str
    subject: str
    preview: str
    participants: list[AddressView]
    message_count: int
    sent_count: int
    unread_count: int
    labels: list[str]
    has_attachments: bool
    size_bytes: int
    started_at: datetime
    last_message_at: datetime
    last_message_id: str


class ThreadMessage(MessageItem):
    """A message within its thread. extracted_text: what its writer added, without quoted mails and signature; its first
    10,000 characters (is_cut tells that there is more; the message itself has all). Untrusted."""

    extracted_text: str
    is_cut: bool


class ThreadView(ThreadItem):
    """A thread with a page of its messages, the oldest first. next_cursor: pass it as `cursor` for the following ones;
    null on the last page."""

    messages: list[ThreadMessage]
    next_cursor: str | None


def thread_item(summary: Summary) -> ThreadItem:
    """A row of a list."""
    return ThreadItem(**_shown(summary))


def thread_view(summary: Summary, rows: list[Record], next_cursor: str | None) -> ThreadView:
    """A thread with some of its messages."""
    messages = [
        ThreadMessage(**shared(row), extracted_text=row["extracted_text"], is_cut=row["is_cut"]) for row in rows
    ]
    return ThreadView(**_shown(summary), messages=messages, next_cursor=next_cursor)


def _shown(summary: Summary) -> dict[str, Any]:
    row = summary.row
    return {
        "thread_id": str(ThreadId.of(row["thread_id"])),
        "mailbox_id": str(MailboxId.of(row["mailbox_id"])),
        "lease_id": str(LeaseId.of(row["lease_id"])),
        "subject": row["subject"],
        "preview": row["preview"],
        "participants": [AddressView(each["name"], each["address"]) for each in summary.people],
        "message_count": row["message_count"],
        "sent_count": row["sent_count"],
        "unread_count": row["unread_count"],
        "labels": list(row["labels"]),
        "has_attachments": row["has_attachments"],
        "size_bytes": row["size_bytes"],
        "started_at": row["started_at"],
        "last_message_at": row["last_message_at"],
        "last_message_id": str(MessageId.of(row["last_message_id"])),
    }
