"""SQL of threads. A thread is the messages that share its id, so none is kept, counted or erased apart from them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record
from sqlalchemy import any_, bindparam, exists, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from leasebox.infra.db import Tx
from leasebox.mail.model import Query
from leasebox.mail.reading_store import MESSAGE_COLUMNS, labelled, readable
from leasebox.mail.tables import messages
from leasebox.values.ids import LeaseId, MessageId, TenantId, ThreadId

# As many messages with a label are few: their threads are looked at, and not each thread for the label.
_FEW = 500
# Messages of one subject that are looked at; and of each, recipients.
_CANDIDATES = 20
_PEOPLE = 50

_REFERENCED = """
SELECT w.letter, max(r.thread_id::text)::uuid AS thread_id
FROM unnest($1::int[], $2::uuid[], $3::bytea[]) AS w(letter, lease_id, reference)
CROSS JOIN LATERAL (
    SELECT thread_id FROM thread_references WHERE lease_id = w.lease_id AND reference = w.reference LIMIT 1
) AS r
GROUP BY w.letter
"""
_REMEMBER = """
INSERT INTO thread_references (lease_id, reference, thread_id)
SELECT DISTINCT ON (lease_id, reference) lease_id, reference, thread_id
FROM unnest($1::uuid[], $2::bytea[], $3::uuid[]) AS t(lease_id, reference, thread_id)
ON CONFLICT (lease_id, reference) DO NOTHING
"""
_SAME_SUBJECT = f"""
SELECT thread_id FROM (
    SELECT id, mail_id, thread_id, sender, recipients FROM messages
    WHERE lease_id = $1 AND subject_key = $2 AND received_at >= $3 ORDER BY id DESC LIMIT {_CANDIDATES}
) AS m JOIN mail_bodies b USING (mail_id)
WHERE lower(m.sender) = ANY ($4)
    OR EXISTS (SELECT FROM jsonb_array_elements(m.recipients || b.cc) AS one WHERE lower(one ->> 'address') = ANY ($4))
ORDER BY m.id DESC LIMIT 1
"""
_FORGET = """
DELETE FROM thread_references r WHERE lease_id = $1 AND thread_id = $2
    AND NOT EXISTS (SELECT FROM messages WHERE thread_id = $2)
"""
_FORGET_LEASES = "DELETE FROM thread_references WHERE lease_id = ANY ($1)"
_FORGET_MAILBOX = """
DELETE FROM thread_references WHERE lease_id IN (SELECT id FROM leases WHERE tenant_id = $1 AND mailbox_id = $2)
"""


async def find_referenced(tx: Tx, sought: Sequence[tuple[int, LeaseId, bytes]]) -> dict[int, ThreadId]:
    """By the number of a letter, the thread whose mails refer to one of its message ids. sought: number, lease and one
    of the ids (hashes)."""
    if not sought:
        return {}
    rows = await tx.all(_REFERENCED, *map(list, zip(*sought, strict=True)))
    return {row["letter"]: ThreadId.of(row["thread_id"]) for row in rows}


async def find_same_subject(
    tx: Tx, lease_id: LeaseId, subject_key: int, since: datetime, people: Sequence[str]
) -> ThreadId | None:
    """The thread of the newest message with the same subject that one of `people` (lower case) wrote or got."""
    return _thread(await tx.value(_SAME_SUBJECT, lease_id, subject_key, since, people))


async def remember(tx: Tx, references: Sequence[tuple[LeaseId, bytes, ThreadId]]) -> None:
    """Note what threads refer to; what another one has noted before stays there."""
    if references:
        await tx.run(_REMEMBER, *map(list, zip(*references, strict=True)))


async def forget(tx: Tx, lease_id: LeaseId, thread_id: ThreadId) -> None:
    """Drop what a thread noted once it has no message any more."""
    await tx.run(_FORGET, lease_id, thread_id)


async def forget_of_leases(tx: Tx, lease_ids: Sequence[LeaseId]) -> None:
    await tx.run(_FORGET_LEASES, lease_ids)


async def forget_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: UUID) -> None:
    await tx.run(_FORGET_MAILBOX, tenant_id, mailbox_id)


async def listed(tx: Tx, query: Query, below: UUID | None, upto: UUID | None, limit: int) -> list[Record]:
    """The newest message of each readable thread, newest first: `id`, `thread_id`.

    upto: messages after this one do not count, so that a list read page by page stays the one it was at its beginning.
    query.labels: each must stand on some message of the thread.
    """
    newer = messages.alias("newer")
    later = exists().where(newer.c.thread_id == messages.c.thread_id).where(newer.c.id > messages.c.id)
    if upto is not None:
        later = later.where(newer.c.id <= upto)
    unlabelled: Any = select(messages.c.id, messages.c.thread_id)
    statement = readable(unlabelled, query).where(~later)
    for each in query.labels:
        statement = statement.where(await _with_label(tx, query.tenant_id, each))
    for bound in (None if below is None else messages.c.id < below, None if upto is None else messages.c.id <= upto):
        if bound is not None:
            statement = statement.where(bound)
    return await tx.select(statement.order_by(messages.c.id.desc()).limit(limit))


async def _with_label(tx: Tx, tenant_id: TenantId, wanted: str) -> Any:
    """That a thread has a label on some message. Rare ones lead to their threads; of a common one the newest threads
    are asked, as many as the list takes. The planner cannot know which it is, so we look."""
    marked = messages.alias("marked")
    with_it = select(marked.c.thread_id).where(marked.c.tenant_id == tenant_id, labelled(marked.c.labels, wanted))
    found = [row["thread_id"] for row in await tx.select(with_it.order_by(marked.c.id.desc()).limit(_FEW + 1))]
    if len(found) <= _FEW:
        return messages.c.thread_id == any_(bindparam(None, list(set(found)), ARRAY(PG_UUID)))
    # OFFSET keeps PostgreSQL from gathering all of them first.
    return exists(with_it.where(marked.c.thread_id == messages.c.thread_id).offset(0))


_OF_THREAD = "FROM messages WHERE tenant_id = $1 AND thread_id = t.id"
_SUMMARY = f"""
SELECT t.id AS thread_id, newest.*, oldest.*, counted.*, marked.*
FROM unnest($2::uuid[]) AS t(id)
CROSS JOIN LATERAL (
    SELECT id AS last_message_id, mailbox_id, lease_id, received_at AS last_message_at, preview {_OF_THREAD}
    ORDER BY id DESC LIMIT 1
) AS newest
CROSS JOIN LATERAL (
    SELECT received_at AS started_at, subject {_OF_THREAD} ORDER BY id LIMIT 1
) AS oldest
CROSS JOIN LATERAL (
    SELECT count(*) AS message_count, count(*) FILTER (WHERE 'unread' = ANY (labels)) AS unread_count,
           count(*) FILTER (WHERE direction = 'outbound') AS sent_count, bool_or(has_attachments) AS has_attachments,
           sum(size_bytes) AS size_bytes {_OF_THREAD}
) AS counted
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(DISTINCT label ORDER BY label), '{{}}') AS labels
    FROM messages, unnest(labels) AS label WHERE tenant_id = $1 AND thread_id = t.id
) AS marked
"""
_PARTICIPANTS = f"""
SELECT t.id AS thread_id, p.address, p.name
FROM unnest($2::uuid[]) AS t(id)
CROSS JOIN LATERAL (
    SELECT max(said.address) AS address, coalesce(max(nullif(said.name, '')), '') AS name
    FROM (
        SELECT sender, sender_name, jsonb_path_query_array(recipients, '$[0 to 19]') AS recipients {_OF_THREAD}
        ORDER BY id DESC LIMIT {_CANDIDATES}
    ) AS m
    CROSS JOIN LATERAL (
        SELECT m.sender, m.sender_name
        UNION ALL SELECT one ->> 'address', one ->> 'name' FROM jsonb_array_elements(m.recipients) AS one
    ) AS said(address, name)
    WHERE said.address <> '' GROUP BY lower(said.address) ORDER BY 1 LIMIT {_PEOPLE}
) AS p
"""
_HEAD = """
SELECT m.id, m.mailbox_id, m.lease_id, l.state, l.frozen_at, l.expires_at FROM messages m
JOIN leases l ON l.id = m.lease_id WHERE m.tenant_id = $1 AND m.thread_id = $2 ORDER BY m.id DESC LIMIT 1
"""
_MESSAGES = f"""
SELECT {MESSAGE_COLUMNS}, left(coalesce(b.extracted_text, b.body_text), $5) AS extracted_text,
       length(coalesce(b.extracted_text, b.body_text)) > $5 AS is_cut
FROM messages m JOIN mail_bodies b ON b.mail_id = m.mail_id
WHERE m.tenant_id = $1 AND m.thread_id = $2 AND ($3::uuid IS NULL OR m.id > $3) ORDER BY m.id LIMIT $4
"""
_LABEL = """
UPDATE messages SET labels = (
    SELECT coalesce(array_agg(DISTINCT label ORDER BY label), '{}')
    FROM unnest(labels || $3::text[]) AS label WHERE NOT label = ANY ($4::text[])
) WHERE tenant_id = $1 AND id IN (
    SELECT id FROM messages WHERE tenant_id = $1 AND thread_id = $2 ORDER BY id FOR UPDATE)
RETURNING cardinality(labels)
"""


async def summaries(tx: Tx, tenant_id: TenantId, thread_ids: Sequence[ThreadId]) -> dict[ThreadId, Record]:
    """Of each thread: newest and oldest message, counts, labels."""
    rows = await tx.all(_SUMMARY, tenant_id, thread_ids)
    return {ThreadId.of(row["thread_id"]): row for row in rows}


async def participants(tx: Tx, tenant_id: TenantId, thread_ids: Sequence[ThreadId]) -> dict[ThreadId, list[Record]]:
    """Who wrote or got (To) the newest 20 messages of each thread; at most 50 people, by address."""
    found: dict[ThreadId, list[Record]] = {}
    for row in await tx.all(_PARTICIPANTS, tenant_id, thread_ids):
        found.setdefault(ThreadId.of(row["thread_id"]), []).append(row)
    return found


async def head(tx: Tx, tenant_id: TenantId, thread_id: ThreadId) -> Record | None:
    """A thread's newest message with its lease's state."""
    return await tx.one(_HEAD, tenant_id, thread_id)


async def messages_of(
    tx: Tx, tenant_id: TenantId, thread_id: ThreadId, after: MessageId | None, limit: int, chars: int
) -> list[Record]:
    """A thread's messages, oldest first, each with the new part of its text, cut at so many characters."""
    return await tx.all(_MESSAGES, tenant_id, thread_id, after, limit, chars)


async def label(
    tx: Tx, tenant_id: TenantId, thread_id: ThreadId, added: Sequence[str], removed: Sequence[str]
) -> int | None:
    """Add labels to all messages of a thread, then take others away; the most that one has now. None: no message."""
    return max((row[0] for row in await tx.all(_LABEL, tenant_id, thread_id, added, removed)), default=None)


def _thread(found: UUID | None) -> ThreadId | None:
    return None if found is None else ThreadId.of(found)
