"""Many messages that a statement should not look at, and how many rows it did look at."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from leasebox.infra.db import Tx
from leasebox.values.ids import LeaseId
from tests.kit import House

TABLES = ("leases", "messages", "message_search", "mails", "mail_bodies", "thread_references")
# Leases that last longer, each with a message such as the lease has already.
_MORE = """
WITH boxes AS (
    INSERT INTO leases (id, tenant_id, mailbox_id, agent_id, purpose, metadata, state, started_at, expires_at,
        password_hash, password_set_at, used_bytes, used_messages)
    SELECT overlay(id::text PLACING substr(gen_random_uuid()::text, 20) FROM 20)::uuid, tenant_id, mailbox_id, agent_id,
        purpose, metadata, state, started_at,
        expires_at + interval '90 days', password_hash, password_set_at, used_bytes, used_messages
    FROM leases CROSS JOIN generate_series(1, $2) WHERE id = $1 RETURNING id
), sent AS (
    INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, state,
        tries)
    SELECT boxes.id, received_at, mail_from, helo, client_address, protocol, trace, content, '[]', 'done', 1
    FROM mails CROSS JOIN boxes WHERE mails.id = (SELECT mail_id FROM messages WHERE lease_id = $1 LIMIT 1)
), read AS (
    INSERT INTO mail_bodies (mail_id, headers, cc, reply_to, body_text, attachments, extraction, defects)
    SELECT id, '[]', '[]', '[]', '', '[]', '{}', '{}' FROM boxes
), filed AS (
    INSERT INTO messages (id, tenant_id, mailbox_id, lease_id, mail_id, uid, seq, direction, received_at, size_bytes,
        parsed_status, thread_id, sender, sender_name, sender_domain, recipients, subject, preview, has_attachments,
        labels, auth)
    SELECT boxes.id, tenant_id, mailbox_id, boxes.id, boxes.id, uid, 1000 + row_number() OVER (), direction,
        received_at, size_bytes, parsed_status, boxes.id, sender, sender_name, sender_domain, recipients, subject,
        preview, has_attachments, labels, auth
    FROM messages CROSS JOIN boxes WHERE messages.id = (SELECT id FROM messages WHERE lease_id = $1 LIMIT 1)
), words AS (
    INSERT INTO message_search SELECT tenant_id, boxes.id, search FROM message_search CROSS JOIN boxes
    WHERE message_id = (SELECT id FROM messages WHERE lease_id = $1 LIMIT 1)
)
INSERT INTO thread_references SELECT id, 'x', id FROM boxes
"""
# Of what this connection has not reported yet, so what it did shortly before counts as well.
_READ = """
SELECT relname, coalesce(seq_tup_read, 0) AS scanned, coalesce(idx_tup_fetch, 0) AS fetched, n_tup_del AS deleted
FROM pg_stat_xact_user_tables WHERE relname = ANY ($1)
"""


async def gather(house: House, lease_id: LeaseId, count: int) -> None:
    """As much again as this lease has, so many times over; PostgreSQL knows of it."""
    for table in TABLES:
        # A worker that tidies up at the end would keep the test's database from being dropped.
        off = f"ALTER TABLE {table} SET (autovacuum_enabled = off)"
        await house.db.transact(lambda tx, off=off: tx.run(off))
    await house.db.transact(lambda tx: tx.run(_MORE, lease_id, count))
    for table in TABLES:
        await house.db.transact(lambda tx, table=table: tx.run(f"ANALYZE {table}"))


class Looked(NamedTuple):
    """Rows of a table that were read with all of it, fetched one by one, and deleted."""

    scanned: int
    fetched: int
    deleted: int


async def looked_at(tx: Tx, work: Callable[[], Awaitable[None]]) -> dict[str, Looked]:
    """What some work of this transaction looked at, by table."""
    before, _, after = await _read(tx), await work(), await _read(tx)
    return {name: Looked(*(new - old for new, old in zip(after[name], before[name], strict=True))) for name in TABLES}


async def _read(tx: Tx) -> dict[str, Looked]:
    return {row["relname"]: Looked(*row[1:]) for row in await tx.all(_READ, TABLES)}
