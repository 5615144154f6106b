"""What the SMTP server hands over, and the ports through which it asks: the house behind the door."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict
from leasebox.values.addresses import Mailbox


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent a mail to whom, over which connection; nothing in it comes from headers (RFC 5321 §2.3.1).

    mail_from: as the client wrote it, empty for the null sender. recipients: canonical, tags included, in the order
    accepted. deliver_to: the mailboxes they mean, without tags, each once. helo: what the client called itself, not
    believed. protocol: as in the Received field, e.g. `ESMTPS`. tls: version and cipher, None in the clear.
    """

    mail_from: str
    recipients: tuple[str, ...]
    deliver_to: tuple[str, ...]
    helo: str
    client_ip: str
    protocol: str
    tls: str | None
    smtputf8: bool


@dataclass(frozen=True, slots=True)
class IncomingMail:
    """One mail as it must be stored. Its raw form is `trace + content`.

    trace: our Return-Path and Received lines (RFC 5321 §4.4). content: the octets that the client sent, dots unstuffed.
    """

    envelope: Envelope
    received_at: datetime
    trace: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """The mail is committed: it will be read even if the power fails now. The ids go into the 250."""

    message_ids: tuple[str, ...] = ()


AcceptVerdict = Stored | MailRefusal


class Intake(Protocol):
    """The house: decides recipients and stores mail. An exception from either is answered 451 4.3.0."""

    async def rcpt(self, address: Mailbox, size: int) -> RcptVerdict:
        """Whether a mail for this mailbox is taken now. size: octets, as MAIL FROM declared (RFC 1870); 0 if not."""
        ...

    async def accept(self, mail: IncomingMail) -> AcceptVerdict:
        """Store a mail durably. Not cancelled when the client goes away; cancelled after the grace of a shutdown.

        One verdict stands for all recipients, as SMTP has it.
        """
        ...


class RatePort(Protocol):
    """Counts mails per client; an exception or silence counts as yes, since a lost counter must not cost mail."""

    async def take(self, key: str) -> bool:
        """Whether the client named by `key` may send one more mail now."""
        ...


class SenderPort(Protocol):
    """Knows whose mail is not wanted; an exception counts as no."""

    async def refuses(self, sender: str) -> bool:
        """Whether mail from this envelope sender, as its client wrote it, is refused now."""
        ...
