"""From a wish to a letter: who writes it, what it answers, what it passes on. All of it before the transaction.

Composing and reading a large message takes up to a quarter of a second of CPU: that is work for a thread.
"""

import asyncio
import re
from datetime import datetime

import msgspec
from asyncpg import Record

from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.leases import logins
from leasebox.leases import service as leases
from leasebox.leases.model import LeasePolicy, Mailbox
from leasebox.mail import mime
from leasebox.mail import service as mail
from leasebox.mail.model import FreshMessage
from leasebox.sending.compose import LARGE_OCTETS, Author, compose, message_of
from leasebox.sending.draft import (
    ATTACHED_OCTETS,
    FILENAME_OCTETS,
    Attached,
    Draft,
    is_attachable,
    is_content_id,
    read_message_id,
)
from leasebox.sending.errors import Fault, TooManyOctets, Unsendable, WrongPassword
from leasebox.sending.model import Letter
from leasebox.sending.one_line import as_one_line
from leasebox.sending.replies import message_ids
from leasebox.values.clock import rfc3339
from leasebox.values.errors import NotFound
from leasebox.values.ids import MailboxId, MessageId, SendAttemptId
from leasebox.values.secret import Secret

_UNSAFE = re.compile(r"[/\\]")
_ATTACHMENTS = 100


async def mailbox_to_write_from(
    tx: Tx, caller: Caller, mailbox_id: MailboxId, password: str | None, at: datetime
) -> Mailbox:
    """The caller's mailbox under a live lease; its password is checked where one is given.

    Raises NotFound, LeaseEnded (410), MailboxPaused, MailboxFrozen, WrongPassword (403).
    """
    mailbox = await leases.get_mailbox(tx, caller, mailbox_id)
    if password is not None:
        login = await logins.find(tx, mailbox.address)
        ours = login is not None and login.lease_id == mailbox.lease.lease_id
        if not logins.opens(login if ours else None, Secret(password)):
            mailbox.lease.require_active(at)
            raise WrongPassword("This is not the mailbox's password.")
    mailbox.lease.require_active(at)
    return mailbox


async def referring_to(tx: Tx, caller: Caller, draft: Draft, text: str, policy: LeasePolicy, at: datetime) -> Draft:
    """The draft as an answer to a message: one of ours by its `msg_` id, or any other by <its id in angle brackets>.

    Raises NotFound for the first, Unsendable for what is neither.
    """
    if text.startswith(f"{MessageId.prefix}_"):
        row = await mail.get(tx, caller, _message_id(text), policy, at)
        parent, chain = message_ids(row["headers"])
    else:
        parent = read_message_id(text)
        chain = (parent,)
    return msgspec.structs.replace(draft, in_reply_to=parent, references=chain)


async def letter_of(draft: Draft, mailbox: Mailbox, at: datetime) -> Letter:
    """The draft as it goes out from a mailbox, with an attempt's id of its own. Raises Unsendable (422) where it is to
    go out after the lease's end."""
    ends = mailbox.lease.expires_at
    if draft.send_at is not None and draft.send_at > ends:
        said = f"lies after the end of the lease, {rfc3339(ends)}; renew the lease first"
        raise Unsendable([Fault("body.send_at", said)])
    attempt_id, author = SendAttemptId.new(at), Author(mailbox.address, mailbox.display_name)

    def made() -> tuple[bytes, FreshMessage]:
        content = compose(draft, author, attempt_id, at)
        return content, message_of(content)

    content, message = await asyncio.to_thread(made) if draft.octets > LARGE_OCTETS else made()
    recipients = draft.recipients
    return Letter(attempt_id, mailbox.mailbox_id, mailbox.address, content, message, recipients, draft.send_at)


async def with_attachments_of(draft: Draft, raw: bytes) -> Draft:
    """The draft with what is attached to another message added. Raises TooManyOctets (413)."""
    found = await asyncio.to_thread(mime.attachments, raw) if len(raw) > LARGE_OCTETS else mime.attachments(raw)
    added = [_attached(each, content) for each, content in found][: _ATTACHMENTS - len(draft.attachments)]
    whole = (*draft.attachments, *added)
    if sum(len(each.content) for each in whole) > ATTACHED_OCTETS:
        raise TooManyOctets(
            f"Attachments may have {ATTACHED_OCTETS} octets together.",
            fix="Send the text of the message instead of forwarding it.",
        )
    return msgspec.structs.replace(draft, attachments=whole)


async def original(
    tx: Tx, caller: Caller, message_id: MessageId, policy: LeasePolicy, at: datetime
) -> tuple[Record, MailboxId]:
    """A message to answer or pass on, and the mailbox it is in. Raises NotFound, MailboxPaused, MailboxFrozen."""
    row = await mail.get(tx, caller, message_id, policy, at)
    return row, MailboxId.of(row["mailbox_id"])


def _message_id(text: str) -> MessageId:
    try:
        return MessageId.parse(text)
    except ValueError:
        raise NotFound("No such message.") from None


def _attached(each: mime.Attachment, content: bytes) -> Attached:
    """What strangers attached, named so that it can be attached again."""
    name = as_one_line(_UNSAFE.sub("_", each.filename))
    while len(name.encode()) > FILENAME_OCTETS:
        name = name[1:]
    return Attached(
        name or "attachment",
        each.content_type if is_attachable(each.content_type) else "application/octet-stream",
        content,
        each.content_id if each.content_id and is_content_id(each.content_id) else None,
        each.disposition,
    )
