"""SQL of what is told of a lease's life. Each word is taken by one guarded statement, so it is told once."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.ids import LeaseId, MailboxId, TenantId

# What another process is telling, or a renewal is moving right now, is left alone and looked at again.
_TAKE_DUE = """
WITH due AS (
    SELECT id FROM leases WHERE tell_at <= $1 ORDER BY tell_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE leases AS l SET tell_at = CASE WHEN l.expires_at > $1 THEN l.expires_at END
FROM due WHERE l.id = due.id
RETURNING l.id, l.tenant_id, l.mailbox_id, l.expires_at, l.tell_at IS NULL AS ended
"""
_TAKE_RELEASED = """
UPDATE leases SET tell_at = NULL WHERE id = ANY ($1) AND state = 'released' AND tell_at IS NOT NULL
RETURNING id, tenant_id, mailbox_id, expires_at
"""
_LAST_END = """
SELECT CASE WHEN bool_and(tell_at IS NULL) THEN max(expires_at) END FROM leases
WHERE tenant_id = $1 AND mailbox_id = ANY ($2)
"""
_LATEST = """
SELECT l.state, l.frozen_at, l.expires_at FROM mailboxes m JOIN LATERAL (
    SELECT * FROM leases WHERE mailbox_id = m.id AND tenant_id = m.tenant_id ORDER BY id DESC LIMIT 1
) l ON true
WHERE m.tenant_id = $1 AND m.id = ANY ($2)
"""


async def take_due(tx: Tx, at: datetime, limit: int) -> list[Record]:
    """Leases whose next word is due; `ended`: it is the last one."""
    return await tx.all(_TAKE_DUE, at, limit)


async def take_released(tx: Tx, lease_ids: Sequence[LeaseId]) -> list[Record]:
    """Those of these leases that were released before their end was told."""
    return await tx.all(_TAKE_RELEASED, lease_ids)


async def last_end(tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId]) -> datetime | None:
    ended: datetime | None = await tx.value(_LAST_END, tenant_id, mailbox_ids)
    return ended


async def latest(tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId]) -> list[Record]:
    """The latest lease of each of these mailboxes that the tenant has or had: state, frozen_at, expires_at."""
    return await tx.all(_LATEST, tenant_id, mailbox_ids)
