"""What an operator may do to any tenant's lease: freeze, unfreeze, release."""

from datetime import datetime

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.infra.db import Tx
from leasebox.leases import oversight_store
from leasebox.leases.life import tell_released
from leasebox.leases.model import LeasePolicy
from leasebox.values.errors import NotFound
from leasebox.values.ids import LeaseId, TenantId


async def freeze(tx: Tx, lease_id: LeaseId, note: str, *, actor: str, at: datetime, request_id: str) -> None:
    """Stop mail and reading at once, until unfrozen; also of a lease that has ended, whose address is then kept back.

    What is frozen already stays so and is not written down again. Raises NotFound.
    """
    before = await _lock(tx, lease_id)
    if before.frozen_at is None:
        await oversight_store.set_frozen(tx, lease_id, at)
        await _note(tx, "lease.freeze", lease_id, before.tenant_id, note, actor, at, request_id, frozen_at=str(at))


async def unfreeze(tx: Tx, lease_id: LeaseId, note: str, *, actor: str, at: datetime, request_id: str) -> None:
    """End a freeze; the lease is then what the clock and its tenant make of it. Raises NotFound."""
    before = await _lock(tx, lease_id)
    if before.frozen_at is not None:
        await oversight_store.set_frozen(tx, lease_id, None)
        was = str(before.frozen_at)
        await _note(tx, "lease.unfreeze", lease_id, before.tenant_id, note, actor, at, request_id, was_frozen_at=was)


async def release(
    tx: Tx, lease_id: LeaseId, note: str, policy: LeasePolicy, *, actor: str, at: datetime, request_id: str
) -> None:
    """End a lease now, frozen or not; a frozen one stays unreadable. Again: nothing. Raises NotFound."""
    tenant_id = await oversight_store.tenant_of(tx, lease_id)
    if tenant_id is None:
        raise NotFound("No such lease.")
    if await oversight_store.release(tx, [lease_id], at, policy.name_hold):
        await tell_released(tx, [lease_id], at)
        await _note(tx, "lease.release", lease_id, tenant_id, note, actor, at, request_id)


async def release_all(tx: Tx, tenant_id: TenantId, policy: LeasePolicy, at: datetime) -> int:
    """End all leases of a tenant that is being closed; how many. Whoever calls writes the audit row."""
    live = await oversight_store.live_leases(tx, tenant_id, at)
    released = await oversight_store.release(tx, live, at, policy.name_hold)
    await tell_released(tx, live, at)
    return released


async def _lock(tx: Tx, lease_id: LeaseId) -> oversight_store.Standing:
    found = await oversight_store.lock(tx, lease_id)
    if found is None:
        raise NotFound("No such lease.")
    return found


async def _note(
    tx: Tx,
    action: str,
    lease_id: LeaseId,
    tenant_id: TenantId,
    note: str,
    actor: str,
    at: datetime,
    request_id: str,
    **more: str,
) -> None:
    detail = {"note": note, **more}
    await record(tx, Act(at, actor, action, str(lease_id), tenant_id, request_id, detail=detail))
