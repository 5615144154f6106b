"""SQL of receiving: storing mails in groups, claiming them for parsing, making messages, erasing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.mail import search_words, threads_store
from leasebox.mail.model import CLAIM_TTL, FreshMessage, PendingMail, Recipient
from leasebox.mail.smtp_intake import IncomingMail
from leasebox.mail.threads_subject import subject_key
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId, ThreadId

Batch = Sequence[tuple[IncomingMail, MessageId, tuple[Recipient, ...]]]
"""Mails, each with its id and those who get it."""
_INSERT_MAILS = """
INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, state,
                   tries)
SELECT id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, 'pending', 0
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[],
            $9::jsonb[])
    AS t(id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for)
"""
_CLAIM = """
SELECT id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, tries, purpose,
    concerns
FROM claim_mails($1, $2, $3, $4, $5, $6)
"""
_FINISH = """
UPDATE mails SET state = 'done', claim = NULL, claimed_until = NULL WHERE id = ANY ($1) AND state = 'pending'
RETURNING id
"""
# KEY SHARE lets mail be taken for the same leases meanwhile; who erases locks them FOR UPDATE and so waits for us.
_UNERASED = "SELECT id FROM leases WHERE id = ANY ($1) AND purged_at IS NULL ORDER BY id FOR KEY SHARE"
# Locked in one order, so that two parsers cannot deadlock.
_NEXT_PLACES = """
WITH want AS (SELECT * FROM unnest($1::uuid[], $2::int[]) AS t(mailbox_id, count)),
locked AS (
    SELECT id, count FROM mailboxes JOIN want ON id = mailbox_id ORDER BY id FOR NO KEY UPDATE OF mailboxes
)
UPDATE mailboxes AS m SET next_seq = next_seq + count, next_uid = next_uid + count FROM locked WHERE m.id = locked.id
RETURNING m.id, next_seq - count AS seq, next_uid - count AS uid
"""
_THREADS = """
SELECT w.letter, found.id, found.thread_id
FROM unnest($1::int[], $2::uuid[], $3::text[]) AS w(letter, lease_id, name)
CROSS JOIN LATERAL (
    SELECT id, thread_id FROM messages WHERE lease_id = w.lease_id AND header_message_id = w.name
    ORDER BY id DESC LIMIT 1
) AS found
"""
# Words of the subject, the people and the text weigh less and less; 'simple' keeps every language's words as they are.
# What is searched comes in apart from what is shown, its words already made by `search_words`.
_INSERT_MESSAGE = """
WITH message AS (
INSERT INTO messages (id, tenant_id, mailbox_id, lease_id, mail_id, uid, seq, direction, received_at, size_bytes,
    parsed_status, thread_id, header_message_id, sender, sender_name, sender_domain, recipients, subject, preview,
    otp_code, verification_link, has_attachments, labels, auth, subject_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $28, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
    $29, $22, $27)
)
INSERT INTO message_search (tenant_id, message_id, search)
SELECT $2, $1, setweight(to_tsvector('simple', $23), 'A') || setweight(to_tsvector('simple', $24), 'B')
    || setweight(to_tsvector('simple', $26), 'C') || to_tsvector('simple', $25)
"""
_INSERT_BODY = """
INSERT INTO mail_bodies (mail_id, headers, cc, reply_to, body_text, body_html, attachments, extraction, defects,
    extracted_text)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_SET_AUTH = "UPDATE messages SET auth = $2 WHERE mail_id = $1"
_INSERT_SENT = """
INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, state,
                   tries)
VALUES ($1, $2, $3, '', '', $4, '', $5, $6, 'done', 0)
"""


class Place(NamedTuple):
    """A message's place in its mailbox. seq: in the order of commits; uid: IMAP's."""

    seq: int
    uid: int


Filed = tuple[PendingMail, Recipient, Place, ThreadId, FreshMessage]
_FIRST_LABELS = {"inbound": ["received", "unread"], "outbound": ["sent"]}


async def insert_mails(tx: Tx, batch: Batch) -> None:
    """Store mails with one statement."""
    await tx.run(_INSERT_MAILS, *mail_columns(batch))


def mail_columns(batch: Batch) -> tuple[list[Any], ...]:
    """Mails as arrays, in the order of `_INSERT_MAILS`: for a verb that stores them itself, too."""
    mails = [mail for mail, _, _ in batch]
    return (
        [mail_id for _, mail_id, _ in batch],
        [mail.received_at for mail in mails],
        [mail.envelope.mail_from for mail in mails],
        [mail.envelope.helo for mail in mails],
        [mail.envelope.client_ip for mail in mails],
        [mail.envelope.protocol for mail in mails],
        [mail.trace for mail in mails],
        [mail.content for mail in mails],
        [recipients for _, _, recipients in batch],
    )


async def insert_sent(tx: Tx, mail: PendingMail) -> None:
    """Store a mail that its author keeps: there is nothing to parse in it."""
    await tx.run(
        _INSERT_SENT,
        mail.mail_id,
        mail.received_at,
        mail.mail_from,
        mail.protocol,
        mail.raw,
        mail.recipients,
    )


async def claim_mails(tx: Tx, at: datetime, limit: int, smallest: int, largest: int) -> list[PendingMail]:
    """Take up to `limit` mails of some sizes (bytes, both ends included) that nobody parses.

    They are ours until `CLAIM_TTL` from now. To be done in a transaction of its own, whose commit waits for no fsync.
    """
    rows = await tx.all(_CLAIM, at, uuid4(), limit, at + CLAIM_TTL, smallest, largest)
    return [_pending(row) for row in rows]


async def finish_mails(tx: Tx, mail_ids: Sequence[MessageId]) -> set[MessageId]:
    """Mark mails parsed; those that nobody else was quicker with."""
    return {MessageId.of(row["id"]) for row in await tx.all(_FINISH, mail_ids)}


async def finish_mail(tx: Tx, mail_id: MessageId) -> int:
    """The same for one mail; 0 when somebody else was quicker."""
    return len(await finish_mails(tx, [mail_id]))


async def lock_unerased(tx: Tx, lease_ids: Sequence[LeaseId]) -> set[LeaseId]:
    """Those of the leases whose mail has not been erased; erasing waits for us."""
    return {LeaseId.of(row["id"]) for row in await tx.all(_UNERASED, sorted(lease_ids))}


async def next_places(tx: Tx, wanted: Mapping[MailboxId, int]) -> dict[MailboxId, Place]:
    """The first of as many next places as wanted in each mailbox; its row stays locked until we commit."""
    rows = await tx.all(_NEXT_PLACES, list(wanted), list(wanted.values()))
    return {MailboxId.of(row["id"]): Place(row["seq"], row["uid"]) for row in rows}


async def find_threads(tx: Tx, sought: Sequence[tuple[int, LeaseId, str]]) -> dict[int, ThreadId]:
    """By the number of a letter, the thread of the newest message of its lease that has one of its message ids
    (RFC 5322 §3.6.4). sought: number, lease and one of the ids."""
    if not sought:
        return {}
    rows = await tx.all(_THREADS, *map(list, zip(*sought, strict=True)))
    return {row["letter"]: ThreadId.of(row["thread_id"]) for row in sorted(rows, key=itemgetter("id"))}


async def insert_messages(tx: Tx, filed: Sequence[Filed]) -> None:
    """File messages, each once."""
    await tx.many(_INSERT_MESSAGE, [_message_values(*each) for each in filed])


def _message_values(
    mail: PendingMail, to: Recipient, place: Place, thread_id: ThreadId, fresh: FreshMessage
) -> tuple[Any, ...]:
    return (
        to.message_id,
        to.tenant_id,
        to.mailbox_id,
        to.lease_id,
        mail.mail_id,
        place.uid,
        place.seq,
        mail.received_at,
        len(mail.raw),
        fresh.parsed_status,
        thread_id,
        fresh.header_message_id,
        fresh.sender,
        fresh.sender_name,
        fresh.sender_domain,
        fresh.recipients,
        fresh.subject,
        fresh.preview,
        fresh.otp_code,
        fresh.verification_link,
        bool(fresh.attachments),
        fresh.auth,
        *words(fresh),
        subject_key(fresh.subject),
        fresh.direction,
        [*_FIRST_LABELS[fresh.direction], *fresh.labels],
    )


def words(fresh: FreshMessage) -> tuple[str, str, str, str]:
    """What a search finds a message by: subject, sender, text, and the other people."""
    sender = f"{fresh.sender} {fresh.sender_name} {fresh.sender_domain}"
    subject, by, text, others = map(search_words.indexed, (fresh.subject, sender, fresh.text, people(fresh)))
    return subject, by, text, others


async def insert_body(tx: Tx, mail_id: MessageId, fresh: FreshMessage) -> None:
    await insert_bodies(tx, [(mail_id, fresh)])


async def insert_bodies(tx: Tx, bodies: Sequence[tuple[MessageId, FreshMessage]]) -> None:
    await tx.many(_INSERT_BODY, [_body_values(mail_id, fresh) for mail_id, fresh in bodies])


def _body_values(mail_id: MessageId, fresh: FreshMessage) -> tuple[Any, ...]:
    return (
        mail_id,
        fresh.headers,
        fresh.cc,
        fresh.reply_to,
        fresh.text,
        fresh.html,
        fresh.attachments,
        fresh.extraction,
        list(fresh.defects),
        fresh.extracted,
    )


async def set_auth(tx: Tx, mail_id: MessageId, auth: dict[str, str]) -> None:
    await tx.run(_SET_AUTH, mail_id, auth)


_ERASE_OF_LEASES = "DELETE FROM messages WHERE lease_id = ANY ($1) RETURNING mail_id"
_ERASE_OF_MAILBOX = "DELETE FROM messages WHERE tenant_id = $1 AND mailbox_id = $2 RETURNING mail_id"
_ERASE_ONE = "DELETE FROM messages WHERE tenant_id = $1 AND id = $2 RETURNING mail_id, lease_id, thread_id, size_bytes"
# Locked before the look in a statement of its own: else two lessees of one mail who delete their messages at once would
# each still see the other's, and nobody would drop the mail.
_LOCK_MAILS = "SELECT FROM mails WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
_DROP_ORPHANS = """
DELETE FROM mails WHERE id = ANY ($1) AND state = 'done' AND NOT EXISTS (
    SELECT FROM messages WHERE mail_id = mails.id)
"""


async def erase_of_leases(tx: Tx, lease_ids: Sequence[LeaseId]) -> int:
    """Delete all messages of leases, and what mails nobody has any more; how many messages that were."""
    rows = await tx.all(_ERASE_OF_LEASES, lease_ids)
    await threads_store.forget_of_leases(tx, lease_ids)
    await drop_orphans(tx, [row["mail_id"] for row in rows])
    return len(rows)


async def erase_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId) -> int:
    """Delete all messages of a mailbox; how many."""
    rows = await tx.all(_ERASE_OF_MAILBOX, tenant_id, mailbox_id)
    await threads_store.forget_of_mailbox(tx, tenant_id, mailbox_id)
    await drop_orphans(tx, [row["mail_id"] for row in rows])
    return len(rows)


async def erase_one(tx: Tx, tenant_id: TenantId, message_id: MessageId) -> Record | None:
    row = await tx.one(_ERASE_ONE, tenant_id, message_id)
    if row is not None:
        await threads_store.forget(tx, LeaseId.of(row["lease_id"]), ThreadId.of(row["thread_id"]))
        await drop_orphans(tx, [row["mail_id"]])
    return row


async def drop_orphans(tx: Tx, mail_ids: Sequence[UUID]) -> None:
    """Forget the raw form of mails that no message stands for any more."""
    async with tx.across_tenants("a mail goes with the last message of it, whoever's that is"):
        await tx.run(_LOCK_MAILS, mail_ids)
        await tx.run(_DROP_ORPHANS, mail_ids)


def people(fresh: FreshMessage) -> str:
    """Whom a mail is to, as far as search finds them: the first 100 of To and Cc, names and addresses."""
    found = [*fresh.recipients, *fresh.cc][:100]
    return " ".join(f"{each['name']} {each['address']}" for each in found)


def _pending(row: Any) -> PendingMail:
    return PendingMail(
        MessageId.of(row["id"]),
        row["received_at"],
        row["mail_from"],
        row["helo"],
        row["client_address"],
        row["trace"] + row["content"],
        tuple(_recipient(each) for each in row["accepted_for"]),
        row["tries"],
        row["protocol"],
        row["purpose"],
        tuple(row["concerns"] or ()),
    )


def _recipient(each: dict[str, Any]) -> Recipient:
    return Recipient(
        MessageId(each["message_id"]),
        LeaseId(each["lease_id"]),
        MailboxId(each["mailbox_id"]),
        TenantId(each["tenant_id"]),
    )
