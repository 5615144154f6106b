"""SQL of what an operator decides about tenants: their status, and rates."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.ids import TenantId
from leasebox.values.rate import Rate

_LOCK = "SELECT status FROM tenants WHERE id = $1 FOR UPDATE"
_SET_STATUS = "UPDATE tenants SET status = $2 WHERE id = $1"
_LOCK_RATES = "SELECT pg_advisory_xact_lock(hashtextextended('rate_overrides', 0))"
_RATES = "SELECT name, tenant_id, count, seconds, made_by, at FROM rate_overrides ORDER BY name, tenant_id NULLS FIRST"
_DROP_RATE = "DELETE FROM rate_overrides WHERE name = $1 AND tenant_id IS NOT DISTINCT FROM $2"
_ADD_RATE = """
INSERT INTO rate_overrides (name, tenant_id, count, seconds, made_by, at) VALUES ($1, $2, $3, $4, $5, $6)
"""


async def lock_tenant(tx: Tx, tenant_id: TenantId) -> str | None:
    """The tenant's status, its row locked until commit; None if there is no such tenant."""
    status: str | None = await tx.value(_LOCK, tenant_id)
    return status


async def set_status(tx: Tx, tenant_id: TenantId, status: str) -> None:
    await tx.run(_SET_STATUS, tenant_id, status)


async def lock_rates(tx: Tx) -> None:
    """One change of rates at a time."""
    await tx.run(_LOCK_RATES)


async def list_rates(tx: Tx) -> Sequence[Record]:
    return await tx.all(_RATES)


async def drop_rate(tx: Tx, name: str, tenant_id: TenantId | None) -> int:
    return await tx.run(_DROP_RATE, name, tenant_id)


async def put_rate(tx: Tx, name: str, tenant_id: TenantId | None, rate: Rate, made_by: str, at: datetime) -> None:
    await drop_rate(tx, name, tenant_id)
    await tx.run(_ADD_RATE, name, tenant_id, rate.count, rate.seconds, made_by, at)
