"""What the API answers, as frozen values. Fields that a newer server adds are ignored, ones it lacks have a default."""

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from leasebox.values.secret import Secret

T = TypeVar("T")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in. expires_in: seconds."""

    access_token: Secret
    expires_in: int
    agent_id: str
    tenant_id: str
    did: str
    wallet_address: str
    chain_id: int
    scopes: tuple[str, ...] = ()


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who the credential is. mailbox_ids None: it reaches all of the tenant's mailboxes."""

    tenant_id: str
    agent_id: str | None = None
    credential_id: str = ""
    credential_type: str = ""
    did: str | None = None
    wallet_address: str | None = None
    chain_id: int | None = None
    scopes: tuple[str, ...] = ()
    mailbox_ids: tuple[str, ...] | None = None
    expires_at: datetime | None = None


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where a mail protocol is spoken. security: `starttls`, `tls` or `none`."""

    host: str
    port: int
    security: str = ""


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of itself to anybody."""

    siwe_mode: str = ""
    payment_mode: str = ""
    base_chain_id: int
    chain_name: str = ""
    mailbox_domain: str
    mailbox_domains: tuple[str, ...] = ()
    limits: dict[str, Any] = {}
    webmail_url: str | None = None
    smtp: Door | None = None
    imap: Door | None = None
    version: str = ""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The timed right to a mailbox. webmail_password: only in the answer that granted the lease."""

    lease_id: str
    mailbox_id: str
    address: str
    agent_id: str = ""
    purpose: str = ""
    lease_status: str
    started_at: datetime
    expires_at: datetime
    released_at: datetime | None = None
    metadata: dict[str, Any] = {}
    used_bytes: int = 0
    used_messages: int = 0
    webmail_login: str | None = None
    webmail_password: Secret | None = None
    webmail_url: str | None = None
    smtp: Door | None = None
    imap: Door | None = None


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a lease."""

    lease_id: str
    mailbox_id: str
    lease_status: str


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A name and address in a mail; untrusted."""

    name: str = ""
    address: str = ""


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the sender's SPF, DKIM and DMARC: RFC 8601's words (pass, fail, none …), `pending` at first."""

    spf: str = ""
    dkim: str = ""
    dmarc: str = ""


class MessageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as lists and `wait` show it. Untrusted: sender…, to, subject, preview, otp_code, verification_link.

    raw_ref: the path of the raw mail.
    """

    message_id: str
    mailbox_id: str
    lease_id: str = ""
    thread_id: str | None = None
    direction: str = ""
    sender: str | None = None
    sender_name: str | None = None
    sender_domain: str | None = None
    to: tuple[Address, ...] = ()
    subject: str | None = None
    preview: str | None = None
    received_at: datetime
    otp_code: str | None = None
    verification_link: str | None = None
    parsed_status: str = ""
    labels: tuple[str, ...] = ()
    has_attachments: bool = False
    size_bytes: int = 0
    raw_ref: str = ""
    auth: Authentication = Authentication()


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """One header field of a mail; untrusted."""

    name: str
    value: str


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a mail; filename, content_type and content_id are untrusted. disposition: `attachment` or `inline`."""

    attachment_id: str
    filename: str | None = None
    content_type: str = ""
    size_bytes: int = 0
    content_id: str | None = None
    disposition: str = ""


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time code that was found. confidence: 0 to 1. evidence: the sentence it stood in. visible: to a reader."""

    code: str
    confidence: float = 0.0
    evidence: str | None = None
    visible: bool = True


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A verification link that was found; nobody has opened it. confidence: 0 to 1.

    target: where a tracker's link leads, when that stands in the link itself.
    """

    url: str
    text: str | None = None
    confidence: float = 0.0
    evidence: str | None = None
    visible: bool = True
    host_matches_sender: bool | None = None
    target: str | None = None


class Extraction(msgspec.Struct, frozen=True, kw_only=True):
    """All codes and links that were found, the likeliest first."""

    codes: tuple[Code, ...] = ()
    links: tuple[Link, ...] = ()


class Message(MessageSummary, frozen=True, kw_only=True):
    """A whole mail. Everything that its sender wrote is untrusted. extracted_text: without the mails that it quotes.

    defects: what was found amiss in how it was written.
    """

    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    envelope_sender: str | None = None
    headers: tuple[Header, ...] = ()
    text: str | None = None
    extracted_text: str | None = None
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    extraction: Extraction = Extraction()
    defects: tuple[str, ...] = ()


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that a price was accepted; the amount is held until it is spent or expires."""

    x_payment_proof: Secret
    amount_usdc: str
    expires_at: datetime


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient that a message does not go to, and why."""

    address: str
    reason: str = ""
    message: str = ""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way. submission_status: `queued`, `deferred`, or `sent` where it has arrived already."""

    send_attempt_id: str
    submission_status: str
    message_id: str
    thread_id: str
    accepted: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class AttemptSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound message as lists show it. state: queued, sending, sent, deferred, failed or cancelled."""

    send_attempt_id: str
    state: str
    mailbox_id: str
    message_id: str
    sender: str = ""
    recipient_count: int = 0
    size_bytes: int = 0
    created_at: datetime
    send_at: datetime
    expires_at: datetime
    sent_at: datetime | None = None
    finished_at: datetime | None = None


class AttemptRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody that a message goes to. state: queued, sent, delivered, deferred, failed, bounced or cancelled.

    reply_text: what the server that refused or took it said; untrusted.
    """

    address: str
    kind: str = "to"
    state: str
    reply_code: int | None = None
    reply_text: str | None = None
    at: datetime


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One reply of a server to one SMTP command; untrusted."""

    command: str
    code: int | None = None
    text: str = ""


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation with a server. outcome: `unknown` where nobody can tell whether the server took the message."""

    number: int
    began_at: datetime
    ended_at: datetime | None = None
    remote: str | None = None
    outcome: str = ""
    replies: tuple[Reply, ...] = ()


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient domain, with every try to hand the message over to it."""

    destination: str
    route: str = "smtp"
    state: str
    next_try_at: datetime | None = None
    tries: tuple[Try, ...] = ()


class Attempt(AttemptSummary, frozen=True, kw_only=True):
    """An outbound message with all that became of it."""

    recipients: tuple[AttemptRecipient, ...] = ()
    hops: tuple[Hop, ...] = ()


class ThreadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as lists show it. Untrusted: subject, preview, participants."""

    thread_id: str
    mailbox_id: str
    subject: str = ""
    preview: str = ""
    participants: tuple[Address, ...] = ()
    message_count: int
    sent_count: int = 0
    unread_count: int = 0
    labels: tuple[str, ...] = ()
    has_attachments: bool = False
    size_bytes: int = 0
    started_at: datetime
    last_message_at: datetime
    last_message_id: str


class ThreadMessage(MessageSummary, frozen=True, kw_only=True):
    """A mail within its thread. extracted_text: what its writer added (untrusted), its beginning where `is_cut`."""

    extracted_text: str = ""
    is_cut: bool = False


class Thread(ThreadSummary, frozen=True, kw_only=True):
    """A conversation with its messages, the oldest first."""

    messages: tuple[ThreadMessage, ...] = ()
    next_cursor: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. data: ids and numbers of the case; what a mail says is read with `message`."""

    event_id: str
    type: str
    created_at: datetime
    tenant_id: str = ""
    mailbox_id: str | None = None
    lease_id: str | None = None
    data: dict[str, Any] = {}


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """A message to sign."""

    message: str
    nonce: str
    expires_at: datetime


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list; next_cursor None on the last."""

    items: tuple[T, ...]
    next_cursor: str | None = None


def decode(raw: bytes, kind: type[T]) -> T:
    """Read JSON as `kind`. Raises msgspec.DecodeError (ValidationError is one)."""
    return msgspec.json.decode(raw, type=kind, dec_hook=_secret)


def _secret(kind: type[Any], value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"{kind.__name__} expected")
