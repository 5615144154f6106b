"""SQL of publishing parsed mails with one statement, which commits by itself (migrations/sql/0017_mail_verbs.sql)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from asyncpg import PostgresError

from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, columns
from leasebox.mail import threads
from leasebox.mail.model import FreshMessage, PendingMail, Recipient
from leasebox.mail.store import words
from leasebox.mail.threads_subject import subject_key
from leasebox.values.ids import MailboxId, ThreadId

_UNDONE = "LB001"
_FILE = """
SELECT file_mails($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
    $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42,
    $43, $44, $45, $46, $47)
"""


async def file(tx: Tx, parsed: Sequence[tuple[PendingMail, FreshMessage]], facts: Sequence[Fact]) -> bool:
    """Finish mails, and insert their messages and facts. False: a mail was finished before, or a lease erased; then
    nothing was done. For `Database.at_once`; the mails are all `service.plain`."""
    seen: Counter[MailboxId] = Counter()
    letters = []
    for mail, fresh in parsed:
        for to in mail.recipients:
            letters.append(_letter(mail, to, seen[to.mailbox_id], fresh))
            seen[to.mailbox_id] += 1
    try:
        await tx.value(
            _FILE,
            *map(list, zip(*(_body(mail, fresh) for mail, fresh in parsed), strict=True)),
            list({to.lease_id for mail, _ in parsed for to in mail.recipients}),
            list(seen),
            list(seen.values()),
            *map(list, zip(*letters, strict=True)),
            *columns(facts),
        )
    except PostgresError as fault:
        if fault.sqlstate != _UNDONE:
            raise
        return False
    return True


def _body(mail: PendingMail, fresh: FreshMessage) -> tuple[Any, ...]:
    # Tuples, for a list within an array would be one of its dimensions.
    return (
        mail.mail_id,
        tuple(fresh.headers),
        tuple(fresh.cc),
        tuple(fresh.reply_to),
        fresh.text,
        fresh.html,
        tuple(fresh.attachments),
        fresh.extraction,
        fresh.defects,
        fresh.extracted,
    )


def _letter(mail: PendingMail, to: Recipient, nth: int, fresh: FreshMessage) -> tuple[Any, ...]:
    name = fresh.header_message_id
    subject, sender, text, others = words(fresh)
    return (
        to.message_id,
        to.tenant_id,
        to.mailbox_id,
        to.lease_id,
        mail.mail_id,
        nth,
        mail.received_at,
        len(mail.raw),
        fresh.parsed_status,
        ThreadId.new(mail.received_at),
        name,
        None if name is None else threads.hashed(name),
        fresh.sender,
        fresh.sender_name,
        fresh.sender_domain,
        tuple(fresh.recipients),
        fresh.subject,
        fresh.preview,
        fresh.otp_code,
        fresh.verification_link,
        bool(fresh.attachments),
        fresh.auth,
        subject_key(fresh.subject),
        subject,
        sender,
        others,
        text,
    )
