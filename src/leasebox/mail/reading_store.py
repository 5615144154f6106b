"""SQL of reading: lists, search, one message, raw bytes, labels. Every statement is scoped by tenant first."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from asyncpg import Record
from sqlalchemy import Select, and_, any_, func, literal, literal_column, not_, or_, select

from leasebox.infra.db import Tx
from leasebox.leases.tables import leases
from leasebox.mail import search_words
from leasebox.mail.model import Query
from leasebox.mail.tables import message_search, messages
from leasebox.values.ids import MailboxId, MessageId, TenantId, lowest_id

_SHOWN = (
    messages.c.id,
    messages.c.mailbox_id,
    messages.c.lease_id,
    messages.c.thread_id,
    messages.c.direction,
    messages.c.received_at,
    messages.c.size_bytes,
    messages.c.parsed_status,
    messages.c.sender,
    messages.c.sender_name,
    messages.c.sender_domain,
    messages.c.recipients,
    messages.c.subject,
    messages.c.preview,
    messages.c.otp_code,
    messages.c.verification_link,
    messages.c.has_attachments,
    messages.c.labels,
    messages.c.auth,
)
# A message's id is made right after it was received; between the two stand a group commit and the difference of clocks.
_ID_SLACK: Final = timedelta(hours=1)
# How to search depends on how common the words are: a plan made for any words reads all that a tenant has.
_PLAN_ANEW = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"
_DIRECTIONS: Final = {"inbound": "'inbound'", "outbound": "'outbound'"}
# Labels that a message begins with. Nearly all have one of the common ones, so no index tells them apart.
_FIRST_LABELS: Final = "ARRAY['received', 'sent', 'unread']"
_COMMON: Final = ("received", "sent")


async def listed(tx: Tx, query: Query, below: object, limit: int) -> list[Record]:
    """Readable messages, newest first."""
    statement = _labelled(readable(select(*_SHOWN), query), query).order_by(messages.c.id.desc()).limit(limit)
    if below is not None:
        statement = statement.where(messages.c.id < below)
    if query.text is not None:
        await tx.run(_PLAN_ANEW)
    return await tx.select(statement)


def next_of(query: Query, seq: int, tenant: str, given: int) -> tuple[str, list[Any]]:
    """A statement for the first readable message that became visible after place `seq` of its mailbox, and its values.

    The query names a mailbox, and narrows it at most by direction, since, sender, subject and has. tenant: what stands
    for its tenant; given: parameters before these. Whoever waits asks it again and again, and SQLAlchemy would take
    longer to write it than PostgreSQL to run it.
    """
    assert query.mailbox_id is not None
    assert (query.until, query.text, query.labels, query.thread_id) == (None, None, (), None)
    sql, values = _NEXT + tenant, list[Any]()
    for condition, meant in _asked_of_next(query, seq):
        places = range(given + len(values) + 1, given + len(values) + len(meant) + 1)
        sql += " AND " + condition.format(*(f"${place}" for place in places))
        values += meant
    return sql + " ORDER BY m.seq LIMIT 1", values


def _asked_of_next(query: Query, seq: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions on a message `m` of a lease `l`, each with its values: to the same effect as in `readable`."""
    yield "m.mailbox_id = {} AND m.seq > {}", (query.mailbox_id, seq)
    yield "l.frozen_at IS NULL AND l.expires_at > {}", (query.at - query.retention,)
    yield "(l.state <> 'paused' OR l.expires_at <= {})", (query.at,)
    yield _NEXT_HAS[query.has], ()
    if query.within is not None:
        yield "m.mailbox_id = ANY ({}::uuid[])", (list(query.within),)
    if query.direction is not None:
        yield f"m.direction = {_DIRECTIONS[query.direction]}", ()
    if query.since is not None:
        yield "m.received_at >= {} AND m.id >= {}", (query.since, lowest_id(query.since - _ID_SLACK))
    if query.subject is not None:
        yield "strpos(lower(m.subject), {}::text) > 0", (query.subject.lower(),)
    sender = (query.sender or "").lower()
    if "@" in sender.lstrip("@"):
        yield "lower(m.sender) = {}::text", (sender,)
    elif sender:
        domain = sender.lstrip("@")
        yield "right('.' || m.sender_domain, length({0}::text) + 1) = '.' || {0}::text", (domain,)


_SEQ_OF = "SELECT seq FROM messages WHERE tenant_id = $1 AND mailbox_id = $2 AND id = $3"
_SEQ_NOW = "SELECT next_seq - 1 FROM mailboxes WHERE tenant_id = $1 AND id = $2"


async def seq_of(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, message_id: MessageId) -> int | None:
    """A message's place in its mailbox's order of visibility; None when it is gone."""
    seq: int | None = await tx.value(_SEQ_OF, tenant_id, mailbox_id, message_id)
    return seq


async def seq_now(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId) -> int:
    """The place of the mailbox's latest message."""
    return int(await tx.value(_SEQ_NOW, tenant_id, mailbox_id) or 0)


MESSAGE_COLUMNS = ", ".join(f"m.{column.name}" for column in _SHOWN)
"""What is shown of a message `m`."""
_NEXT = f"SELECT {MESSAGE_COLUMNS} FROM messages m JOIN leases l ON l.id = m.lease_id WHERE m.tenant_id = "
_NEXT_HAS: Final = {
    "any": "true",
    "otp": "m.otp_code IS NOT NULL",
    "link": "m.verification_link IS NOT NULL",
}
_ONE = f"""
SELECT {MESSAGE_COLUMNS}, l.state, l.frozen_at, l.expires_at, b.headers, b.cc, b.reply_to, b.body_text, b.body_html,
       b.attachments, b.extraction, b.defects, w.mail_from AS envelope_sender,
       coalesce(b.extracted_text, b.body_text) AS extracted_text
FROM messages m JOIN leases l ON l.id = m.lease_id JOIN mail_bodies b ON b.mail_id = m.mail_id
JOIN mails w ON w.id = m.mail_id
WHERE m.tenant_id = $1 AND m.id = $2
"""
_HEAD = f"""
SELECT {MESSAGE_COLUMNS}, l.state, l.frozen_at, l.expires_at FROM messages m JOIN leases l ON l.id = m.lease_id
WHERE m.tenant_id = $1 AND m.id = $2
"""
_RAW = """
SELECT w.trace, w.content FROM messages m JOIN mails w ON w.id = m.mail_id WHERE m.tenant_id = $1 AND m.id = $2
"""
_LABEL = """
UPDATE messages SET labels = (
    SELECT coalesce(array_agg(DISTINCT label ORDER BY label), '{}')
    FROM unnest(labels || $3::text[]) AS label WHERE NOT label = ANY ($4::text[])
) WHERE tenant_id = $1 AND id = $2 RETURNING labels
"""


async def one(tx: Tx, tenant_id: TenantId, message_id: MessageId) -> Record | None:
    """A message with its body and its lease's state."""
    return await tx.one(_ONE, tenant_id, message_id)


async def head(tx: Tx, tenant_id: TenantId, message_id: MessageId) -> Record | None:
    """A message without its body, with its lease's state."""
    return await tx.one(_HEAD, tenant_id, message_id)


async def raw(tx: Tx, tenant_id: TenantId, message_id: MessageId) -> bytes | None:
    """The bytes as received, after our trace fields."""
    row = await tx.one(_RAW, tenant_id, message_id)
    return None if row is None else row["trace"] + row["content"]


async def label(
    tx: Tx, tenant_id: TenantId, message_id: MessageId, added: Sequence[str], removed: Sequence[str]
) -> list[str] | None:
    """Add labels, then take others away; the labels that stand now."""
    labels: list[str] | None = await tx.value(_LABEL, tenant_id, message_id, added, removed)
    return labels


def readable(statement: Select[Any], query: Query) -> Select[Any]:
    """Only what the caller may see now: its tenant's, within its mailboxes, under a lease that lets it read.

    Narrowed by all criteria of the query but its labels.
    """
    live = leases.c.expires_at > query.at
    statement = (
        statement.join(leases, leases.c.id == messages.c.lease_id)
        .where(messages.c.tenant_id == query.tenant_id)
        .where(leases.c.frozen_at.is_(None))
        .where(leases.c.expires_at > query.at - query.retention)
        .where(or_(leases.c.state != "paused", ~live))
    )
    if query.within is not None:
        statement = statement.where(messages.c.mailbox_id.in_(list(query.within)))
    for column, value in ((messages.c.mailbox_id, query.mailbox_id), (messages.c.thread_id, query.thread_id)):
        if value is not None:
            statement = statement.where(column == value)
    if query.direction is not None:
        # Written out, so that the planner knows the index of what went out.
        statement = statement.where(messages.c.direction == literal_column(_DIRECTIONS[query.direction]))
    return _narrowed(statement, query)


def _narrowed(statement: Select[Any], query: Query) -> Select[Any]:
    # Of a time an id tells nearly as much, and ids are in the index.
    if query.since is not None:
        statement = statement.where(messages.c.received_at >= query.since)
        statement = statement.where(messages.c.id >= lowest_id(query.since - _ID_SLACK))
    if query.until is not None:
        statement = statement.where(messages.c.received_at < query.until)
        statement = statement.where(messages.c.id < lowest_id(query.until + _ID_SLACK))
    if query.text is not None:
        found = and_(message_search.c.tenant_id == messages.c.tenant_id, message_search.c.message_id == messages.c.id)
        statement = statement.join(message_search, found).where(
            message_search.c.search.op("@@")(
                func.websearch_to_tsquery(literal_column("'simple'"), search_words.sought(query.text))
            )
        )
    if query.sender is not None:
        statement = statement.where(_sent_by(query.sender.lower()))
    if query.subject is not None:
        statement = statement.where(func.strpos(func.lower(messages.c.subject), query.subject.lower()) > 0)
    if query.has == "otp":
        statement = statement.where(messages.c.otp_code.is_not(None))
    if query.has == "link":
        statement = statement.where(messages.c.verification_link.is_not(None))
    return statement


def _labelled(statement: Select[Any], query: Query) -> Select[Any]:
    for each in query.labels:
        statement = statement.where(labelled(messages.c.labels, each))
    return statement


def labelled(labels: Any, wanted: str) -> Any:
    """Whether a label is among those of a message, said in such a way that the planner knows the index for it."""
    if wanted == "unread":
        return literal_column("'unread'") == any_(labels)
    if wanted in _COMMON:
        return literal(wanted) == any_(labels)
    return and_(literal(wanted) == any_(labels), not_(labels.bool_op("<@")(literal_column(_FIRST_LABELS))))


def _sent_by(sender: str) -> Any:
    """A whole address, or a domain with everything under it."""
    if "@" in sender.lstrip("@"):
        return func.lower(messages.c.sender) == sender
    domain = sender.lstrip("@")
    return or_(
        messages.c.sender_domain == domain,
        func.right(messages.c.sender_domain, len(domain) + 1) == "." + domain,
    )
