"""SQL of who has little left, and has been told."""

from collections.abc import Sequence
from datetime import datetime

from leasebox.infra.db import Tx
from leasebox.values.ids import TenantId, lowest_id

# Transfers' ids begin with their time, so the newest are one range of the primary key.
_MOVED = "SELECT DISTINCT tenant_id FROM ledger_transfers WHERE id >= $1"
_MARK = "INSERT INTO low_balances (tenant_id, since) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_UNMARK = "DELETE FROM low_balances WHERE tenant_id = $1"


async def moved_since(tx: Tx, at: datetime) -> Sequence[TenantId]:
    """Tenants whose money moved at a time or later."""
    return [TenantId.of(row["tenant_id"]) for row in await tx.all(_MOVED, lowest_id(at))]


async def mark(tx: Tx, tenant_id: TenantId, at: datetime) -> int:
    """Note that a tenant has little left; 0 if that was noted before."""
    return await tx.run(_MARK, tenant_id, at)


async def unmark(tx: Tx, tenant_id: TenantId) -> None:
    await tx.run(_UNMARK, tenant_id)
