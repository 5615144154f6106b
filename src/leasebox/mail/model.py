"""What mail coming in is made of, and the settings of receiving."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId, ThreadId

WAKE_PARSER = "parser"
WAKE_MAILBOX = "mailbox"
CLAIM_TTL = timedelta(seconds=60)
MAX_TRIES = 5


class Recipient(msgspec.Struct, frozen=True):
    """One lease that a mail was accepted for, and the message it becomes there. uid: IMAP's, within the mailbox."""

    message_id: MessageId
    lease_id: LeaseId
    mailbox_id: MailboxId
    tenant_id: TenantId
    uid: int


class PendingMail(msgspec.Struct, frozen=True):
    """A stored mail that a parser has claimed. raw: trace and content, as `/raw` gives them."""

    mail_id: MessageId
    received_at: datetime
    mail_from: str
    helo: str
    client_address: str
    raw: bytes
    recipients: tuple[Recipient, ...]
    tries: int


class FreshMessage(msgspec.Struct, frozen=True):
    """All that a parser found, ready to be stored. parsed_status: `parsed` has a code or link, `none` has neither."""

    parsed_status: str
    header_message_id: str | None
    related: tuple[str, ...]
    sender: str
    sender_name: str
    sender_domain: str
    recipients: list[dict[str, str]]
    cc: list[dict[str, str]]
    reply_to: list[dict[str, str]]
    subject: str
    preview: str
    text: str
    html: str | None
    headers: list[dict[str, str]]
    attachments: list[dict[str, Any]]
    extraction: dict[str, Any]
    otp_code: str | None
    verification_link: str | None
    auth: dict[str, str]
    defects: tuple[str, ...]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages a list shows; every criterion that is not None narrows it. Times: received_at, since inclusive."""

    tenant_id: TenantId
    within: frozenset[MailboxId] | None
    at: datetime
    retention: timedelta
    mailbox_id: MailboxId | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    label: str | None = None
    thread_id: ThreadId | None = None
    direction: str | None = None
    sender: str | None = None
    subject: str | None = None
    has: str = "any"
