"""SQL of suppressions."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.ids import EventId, SendAttemptId, TenantId

_AMONG = "SELECT address, reason FROM suppressions WHERE tenant_id = $1 AND address = ANY ($2)"
_ADD = """
INSERT INTO suppressions (tenant_id, address, id, reason, attempt_id, detail, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
"""
_DROP = "DELETE FROM suppressions WHERE tenant_id = $1 AND address = $2 RETURNING reason"
_SHOWN = "SELECT id, tenant_id, address, reason, attempt_id, detail, at FROM suppressions"
_NARROWED = """
($2::text IS NULL OR address = $2) AND ($3::text IS NULL OR reason = $3) AND ($4::uuid IS NULL OR id < $4)
ORDER BY id DESC LIMIT $5
"""
_LISTED = f"{_SHOWN} WHERE tenant_id = $1 AND {_NARROWED}"
_SEARCH = f"{_SHOWN} WHERE ($1::uuid IS NULL OR tenant_id = $1) AND {_NARROWED}"
_ONE = f"{_SHOWN} WHERE tenant_id = $1 AND address = $2"


async def among(tx: Tx, tenant_id: TenantId, addresses: Sequence[str]) -> dict[str, str]:
    """Those of some canonical addresses that are suppressed, and why."""
    return {row["address"]: row["reason"] for row in await tx.all(_AMONG, tenant_id, addresses)}


async def add(
    tx: Tx,
    tenant_id: TenantId,
    address: str,
    reason: str,
    attempt_id: SendAttemptId | None,
    detail: str,
    at: datetime,
) -> int:
    """1, or 0 if it stood there already."""
    return await tx.run(_ADD, tenant_id, address, EventId.new(at), reason, attempt_id, detail, at)


async def drop(tx: Tx, tenant_id: TenantId, address: str) -> str | None:
    """The reason that it stood there for; None if it did not."""
    reason: str | None = await tx.value(_DROP, tenant_id, address)
    return reason


async def one(tx: Tx, tenant_id: TenantId, address: str) -> Record | None:
    return await tx.one(_ONE, tenant_id, address)


async def listed(
    tx: Tx, tenant_id: TenantId, address: str | None, reason: str | None, below: object, limit: int
) -> list[Record]:
    """A tenant's, newest first."""
    return await tx.all(_LISTED, tenant_id, address, reason, below, limit)


async def search(
    tx: Tx, tenant_id: TenantId | None, address: str | None, reason: str | None, below: object, limit: int
) -> list[Record]:
    """The same for operators; of all tenants where none is given."""
    return await tx.all(_SEARCH, tenant_id, address, reason, below, limit)
