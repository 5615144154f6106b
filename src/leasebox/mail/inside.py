"""Mail that stays inside: from this instance into its own mailboxes, without SMTP, in the sender's transaction.

It is stored as SMTP stores mail, trace lines included, and read by the same parser. It never crossed a network, and we
know ourselves who sent it, so it is shown with `auth` results of `pass` (service.KNOWN).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec

from leasebox.infra.db import Tx
from leasebox.leases import service as leases
from leasebox.leases.inbound import Inbound, Slot
from leasebox.leases.model import LeasePolicy
from leasebox.mail import house, store, threads
from leasebox.mail.model import INSIDE, WAKE_MAILBOX, WAKE_PARSER, Errand, FreshMessage, PendingMail, Recipient, kind_of
from leasebox.mail.smtp_intake import Envelope, IncomingMail
from leasebox.values.ids import MessageId, ThreadId


class InsideMail(msgspec.Struct, frozen=True):
    """A mail on its way inside. mail_from: empty for a bounce. hostname: ours; token: what its Received line names.

    content: as an SMTP client would send it, CRLF and all.
    """

    mail_from: str
    hostname: str
    token: str
    content: bytes

    def trace(self, at: datetime) -> bytes:
        """Return-Path and Received (RFC 5321 §4.4); no recipient is named, since some may be blind copies."""
        date = format_datetime(at.astimezone(UTC).replace(microsecond=0))
        return (
            f"Return-Path: <{self.mail_from}>\r\n"
            f"Received: by {self.hostname} with {INSIDE} id {self.token};\r\n"
            f"\t{date}\r\n"
        ).encode()


async def deliver(
    tx: Tx, mail: InsideMail, addresses: Sequence[str], policy: LeasePolicy, at: datetime
) -> dict[str, Slot | Inbound]:
    """Put a mail into the mailboxes of some canonical addresses; for each its slot, or why it was not taken.

    One that is refused is not in the way of the others.
    """
    wanted = list(dict.fromkeys(addresses))
    size = len(mail.trace(at)) + len(mail.content)
    taken = await leases.take_mail(tx, [[address] for address in wanted], [size] * len(wanted), policy, at)
    verdicts = {
        address: each if isinstance(each, Inbound) else each[0] for address, each in zip(wanted, taken, strict=True)
    }
    await put(tx, mail, [each for each in verdicts.values() if isinstance(each, Slot)], at)
    return verdicts


async def put(tx: Tx, mail: InsideMail, slots: Sequence[Slot], at: datetime) -> None:
    """Store a mail for leases that `leases.take_mail` has counted it for, in this transaction; the parser does the
    rest."""
    if not slots:
        return
    recipients = tuple(_recipient(slot, at) for slot in slots)
    await store.insert_mails(tx, [(_incoming(mail, at), MessageId.new(at), recipients)])
    tx.wake(WAKE_PARSER, kind_of(len(mail.content)))


async def put_in_house(tx: Tx, mail: InsideMail, errands: Sequence[Errand], at: datetime) -> None:
    """Store a mail for role addresses of ours, which admins read."""
    if errands:
        await house.keep(tx, house.sorted_out(_incoming(mail, at), errands, at))


async def keep_sent(
    tx: Tx, content: bytes, sender: str, slot: Slot, fresh: FreshMessage, at: datetime
) -> tuple[MessageId, ThreadId]:
    """File an outgoing message, visible at once, in its author's mailbox; `fresh` is what is to be read in it."""
    own = _recipient(slot, at)
    mail = PendingMail(MessageId.new(at), at, sender, "", "", content, (own,), 0, INSIDE)
    await store.insert_sent(tx, mail)
    await store.insert_body(tx, mail.mail_id, fresh)
    places = await store.next_places(tx, {own.mailbox_id: 1})
    thread_id = await threads.place(tx, threads.letter_of(own.lease_id, fresh, at))
    await store.insert_messages(tx, [(mail, own, places[own.mailbox_id], thread_id, fresh)])
    tx.wake(WAKE_MAILBOX, str(own.mailbox_id))
    return own.message_id, thread_id


def _incoming(mail: InsideMail, at: datetime) -> IncomingMail:
    envelope = Envelope(mail.mail_from, (), (), mail.hostname, "", INSIDE, None, smtputf8=False)
    return IncomingMail(envelope, at, mail.trace(at), mail.content)


def _recipient(slot: Slot, at: datetime) -> Recipient:
    return Recipient(MessageId.new(at), slot.lease_id, slot.mailbox_id, slot.tenant_id)
