"""What mail coming in is made of, and the settings of receiving."""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from leasebox.mail.smtp_intake import IncomingMail
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId, ThreadId

WAKE_PARSER = "parser"
SMALL, LARGE = "", "large"
"""What WAKE_PARSER says: mails of which kind have come (`kind_of`)."""
SMALL_OCTETS = 64 * 1024
"""Content up to this size makes a small mail, which is read on the spot (mail/parse_pool.py)."""
WAKE_MAILBOX = "mailbox"
CLAIM_TTL = timedelta(seconds=60)
MAX_TRIES = 5
INSIDE = "LOCAL"
"""The protocol of mail from one mailbox of this instance to another: no SMTP client can say it."""
Purpose = Literal["return_path", "complaint", "house"]
"""Whom mail for the house is for, beside `lease`."""
BOUNCE = "bounce"
"""The label of mail that tells its author that a message of his did not arrive."""
LABELS = 100
"""Labels that one message can have."""


class Recipient(msgspec.Struct, frozen=True):
    """One lease that a mail was accepted for, and the message it becomes there."""

    message_id: MessageId
    lease_id: LeaseId
    mailbox_id: MailboxId
    tenant_id: TenantId


class PendingMail(msgspec.Struct, frozen=True):
    """A stored mail that a parser has claimed. raw: trace and content, as `/raw` gives them.

    protocol: as in the Received field; INSIDE for mail that never left this instance. purpose, concerns: what mail for
    the house is about (mail/house.py).
    """

    mail_id: MessageId
    received_at: datetime
    mail_from: str
    helo: str
    client_address: str
    raw: bytes
    recipients: tuple[Recipient, ...]
    tries: int
    protocol: str = ""
    purpose: str = "lease"
    concerns: tuple[str, ...] = ()


class Errand(msgspec.Struct, frozen=True):
    """What an address of the house is for. concern: the send attempt that a return path names, else the address."""

    purpose: Purpose
    concern: str


class HouseMail(msgspec.Struct, frozen=True):
    """One mail of one purpose, with all that it is about."""

    mail: IncomingMail
    mail_id: MessageId
    purpose: Purpose
    concerns: tuple[str, ...]


class FreshMessage(msgspec.Struct, frozen=True):
    """All that a parser found, ready to be stored. parsed_status: `parsed` has a code or link, `none` has neither.

    extracted: the new part of a reply; None where all of the text is new. labels: besides those that each message of
    its direction begins with.
    """

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
    extracted: str | None = None
    direction: Literal["inbound", "outbound"] = "inbound"
    labels: tuple[str, ...] = ()


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
    labels: tuple[str, ...] = ()
    thread_id: ThreadId | None = None
    direction: str | None = None
    sender: str | None = None
    subject: str | None = None
    has: str = "any"


def kind_of(octets: int) -> str:
    """SMALL or LARGE, by a mail's content."""
    return SMALL if octets <= SMALL_OCTETS else LARGE
