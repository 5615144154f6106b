"""SQL of forgetting send attempts. What hangs on one (recipients, hops, tries) goes with it by its foreign key."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from leasebox.infra.db import Tx
from leasebox.values.ids import LeaseId, MailboxId, TenantId

# A worker finds why it cannot go out (queue_store).
_HURRY_OF_LEASES = """
UPDATE send_hops h SET next_try_at = l.expires_at FROM send_attempts a JOIN leases l ON l.id = a.lease_id
WHERE a.lease_id = ANY ($1) AND a.send_at > greatest(l.expires_at, a.created_at) AND h.attempt_id = a.id
    AND h.state = 'waiting' AND h.next_try_at > l.expires_at
"""
_LEAVE_OF_LEASES = """
UPDATE send_attempts SET forget_at = expires_at + $2::interval
WHERE lease_id = ANY ($1) AND forget_at IS NULL
"""
_LEAVE_OF_MAILBOX = """
UPDATE send_attempts SET forget_at = expires_at + $3::interval
WHERE tenant_id = $1 AND mailbox_id = $2 AND forget_at IS NULL
"""
_FORGET = """
DELETE FROM send_attempts WHERE id IN (
    SELECT id FROM send_attempts WHERE forget_at <= $1 AND finished_at IS NOT NULL
    ORDER BY forget_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


async def hurry_of_leases(tx: Tx, lease_ids: Sequence[LeaseId]) -> int:
    """Make due at once what was to go out after its lease's early end; how many hops."""
    return await tx.run(_HURRY_OF_LEASES, lease_ids)


async def leave_of_leases(tx: Tx, lease_ids: Sequence[LeaseId], grace: timedelta) -> int:
    """Let the leases' attempts be forgotten, each once `grace` has passed since its last moment to go out; how many."""
    return await tx.run(_LEAVE_OF_LEASES, lease_ids, grace)


async def leave_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, grace: timedelta) -> int:
    """The same for all attempts of a mailbox."""
    return await tx.run(_LEAVE_OF_MAILBOX, tenant_id, mailbox_id, grace)


async def forget(tx: Tx, at: datetime, limit: int) -> int:
    """Drop up to `limit` attempts whose time is over; how many. What is still on its way stays until it has ended."""
    return await tx.run(_FORGET, at, limit)
