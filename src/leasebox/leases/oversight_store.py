"""SQL of an operator's verbs on any tenant's leases. Addresses are locked before leases, as everywhere."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from leasebox.infra.db import Tx
from leasebox.values.ids import LeaseId, TenantId

_LOCK = "SELECT tenant_id, frozen_at FROM leases WHERE id = $1 FOR UPDATE"
_TENANT_OF = "SELECT tenant_id FROM leases WHERE id = $1"
_SET_FROZEN = "UPDATE leases SET frozen_at = $2 WHERE id = $1"
_LIVE = "SELECT id FROM leases WHERE tenant_id = $1 AND state <> 'released' AND expires_at > $2"
_RELEASE = """
WITH held AS (
    SELECT lease_id FROM addresses WHERE lease_id = ANY ($1) ORDER BY address FOR UPDATE
), first AS (
    SELECT count(*) FROM held
), l AS (
    UPDATE leases SET state = 'released', released_at = $2, expires_at = least(expires_at, $2) FROM first
    WHERE id = ANY ($1) AND state <> 'released'
    RETURNING id, expires_at
), a AS (
    UPDATE addresses SET leased_until = l.expires_at, held_until = l.expires_at + $3::interval
    FROM l WHERE addresses.lease_id = l.id
)
SELECT count(*) FROM l
"""


class Standing(msgspec.Struct, frozen=True):
    """Whose a lease is, and since when it is frozen."""

    tenant_id: TenantId
    frozen_at: datetime | None


async def lock(tx: Tx, lease_id: LeaseId) -> Standing | None:
    """A lease, its row locked until commit."""
    row = await tx.one(_LOCK, lease_id)
    return None if row is None else Standing(TenantId.of(row["tenant_id"]), row["frozen_at"])


async def tenant_of(tx: Tx, lease_id: LeaseId) -> TenantId | None:
    found = await tx.value(_TENANT_OF, lease_id)
    return None if found is None else TenantId.of(found)


async def set_frozen(tx: Tx, lease_id: LeaseId, frozen_at: datetime | None) -> None:
    await tx.run(_SET_FROZEN, lease_id, frozen_at)


async def live_leases(tx: Tx, tenant_id: TenantId, at: datetime) -> list[LeaseId]:
    return [LeaseId.of(row["id"]) for row in await tx.all(_LIVE, tenant_id, at)]


async def release(tx: Tx, lease_ids: Sequence[LeaseId], at: datetime, name_hold: timedelta) -> int:
    """Release what is not released yet, frozen or not; how many."""
    return int(await tx.value(_RELEASE, lease_ids, at, name_hold))
