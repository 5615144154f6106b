"""Messages as the API shows them. What strangers wrote stands only in fields documented as untrusted."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from asyncpg import Record

from leasebox.values.ids import LeaseId, MailboxId, MessageId, ThreadId, spelled

ATTACHMENT_PREFIX = "att_"


class AddressView(msgspec.Struct):
    """Untrusted: written by the sender."""

    name: str
    address: str


class AuthView(msgspec.Struct):
    """RFC 8601 results for the sender: pass, fail, none, neutral, softfail, temperror, permerror, policy; `pending` for
    the seconds until DNS has answered."""

    spf: str
    dkim: str
    dmarc: str


class MessageItem(msgspec.Struct):
    """A message in a list. Untrusted: sender, sender_domain, to, subject, preview, otp_code, verification_link.

    parsed_status: `parsed` when a code or a link was found, `none` when the mail holds neither, `failed` when it could
    not be read (its raw form still can). raw_ref: the path of the raw mail.
    """

    message_id: str
    mailbox_id: str
    lease_id: str
    thread_id: str
    direction: Literal["inbound", "outbound"]
    sender: str
    sender_name: str
    sender_domain: str
    to: list[AddressView]
    subject: str
    preview: str
    received_at: datetime
    otp_code: str | None
    verification_link: str | None
    parsed_status: Literal["parsed", "none", "failed"]
    labels: list[str]
    has_attachments: bool
    size_bytes: int
    raw_ref: str
    auth: AuthView


class HeaderView(msgspec.Struct):
    """Untrusted."""

    name: str
    value: str


class AttachmentView(msgspec.Struct):
    """Untrusted: filename, content_type. size_bytes: decoded."""

    attachment_id: str
    filename: str
    content_type: str
    size_bytes: int
    content_id: str | None
    disposition: Literal["attachment", "inline"]


class CodeView(msgspec.Struct):
    """confidence: 0 to 1. evidence: the sentence it stood in (untrusted). visible: whether a person would see it."""

    code: str
    confidence: float
    evidence: str
    visible: bool


class LinkView(msgspec.Struct):
    """url: untrusted, never fetched by us. target: where a tracker's link leads, if that stands in the link itself."""

    url: str
    confidence: float
    evidence: str
    visible: bool
    text: str
    host_matches_sender: bool
    target: str | None


class ExtractionView(msgspec.Struct):
    codes: list[CodeView]
    links: list[LinkView]


class MessageView(MessageItem):
    """A whole message. Untrusted besides: cc, reply_to, headers, text, extracted_text, html, attachments, extraction.

    extracted_text: what the writer added, without the mails quoted below it and without the signature; all of the text
    where that cannot be told. html: as delivered, not cleaned; do not render it. envelope_sender: SMTP's MAIL FROM,
    empty for bounces.
    """

    cc: list[AddressView]
    reply_to: list[AddressView]
    envelope_sender: str
    headers: list[HeaderView]
    text: str
    extracted_text: str
    html: str | None
    attachments: list[AttachmentView]
    extraction: ExtractionView
    defects: list[str]


def item(row: Record) -> MessageItem:
    """A row of a list."""
    return MessageItem(**shared(row))


def item_of_json(row: Record) -> MessageItem:
    """The same of a row whose `recipients` and `auth` are JSON text: it goes into the answer as it is.

    PostgreSQL writes an object's shorter keys first, which is the order of our fields.
    """
    message_id = spelled(MessageId.prefix, row["id"])
    return MessageItem(
        message_id,
        spelled(MailboxId.prefix, row["mailbox_id"]),
        spelled(LeaseId.prefix, row["lease_id"]),
        spelled(ThreadId.prefix, row["thread_id"]),
        row["direction"],
        row["sender"],
        row["sender_name"],
        row["sender_domain"],
        msgspec.Raw(row["recipients"].encode()),  # type: ignore[arg-type]
        row["subject"],
        row["preview"],
        row["received_at"],
        row["otp_code"],
        row["verification_link"],
        row["parsed_status"],
        row["labels"],
        row["has_attachments"],
        row["size_bytes"],
        f"/v2/messages/{message_id}/raw",
        msgspec.Raw(row["auth"].encode()),  # type: ignore[arg-type]
    )


def whole(row: Record) -> MessageView:
    """A row with its body."""
    extraction = row["extraction"]
    return MessageView(
        **shared(row),
        cc=_addresses(row["cc"]),
        reply_to=_addresses(row["reply_to"]),
        envelope_sender=row["envelope_sender"],
        headers=[HeaderView(each["name"], each["value"]) for each in row["headers"]],
        text=row["body_text"],
        extracted_text=row["extracted_text"],
        html=row["body_html"],
        attachments=[_attachment(each) for each in row["attachments"]],
        extraction=ExtractionView(
            [msgspec.convert(each, CodeView) for each in extraction.get("codes", [])],
            [msgspec.convert(each, LinkView) for each in extraction.get("links", [])],
        ),
        defects=list(row["defects"]),
    )


def shared(row: Record) -> dict[str, Any]:
    """What lists and whole messages show alike."""
    message_id = spelled(MessageId.prefix, row["id"])
    return {
        "message_id": message_id,
        "mailbox_id": spelled(MailboxId.prefix, row["mailbox_id"]),
        "lease_id": spelled(LeaseId.prefix, row["lease_id"]),
        "thread_id": spelled(ThreadId.prefix, row["thread_id"]),
        "direction": row["direction"],
        "sender": row["sender"],
        "sender_name": row["sender_name"],
        "sender_domain": row["sender_domain"],
        "to": _addresses(row["recipients"]),
        "subject": row["subject"],
        "preview": row["preview"],
        "received_at": row["received_at"],
        "otp_code": row["otp_code"],
        "verification_link": row["verification_link"],
        "parsed_status": row["parsed_status"],
        "labels": list(row["labels"]),
        "has_attachments": row["has_attachments"],
        "size_bytes": row["size_bytes"],
        "raw_ref": f"/v2/messages/{message_id}/raw",
        "auth": AuthView(**row["auth"]),
    }


def _addresses(found: list[dict[str, str]]) -> list[AddressView]:
    return [AddressView(each["name"], each["address"]) for each in found]


def _attachment(each: dict[str, Any]) -> AttachmentView:
    return AttachmentView(
        attachment_id=ATTACHMENT_PREFIX + each["index"],
        filename=each["filename"],
        content_type=each["content_type"],
        size_bytes=each["size_bytes"],
        content_id=each["content_id"],
        disposition=each["disposition"],
    )
