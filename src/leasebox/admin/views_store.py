"""SQL of what admins see of all tenants. Nothing here reads a message, a code, a password hash or a token hash.

UUIDv7 sorts by time, so `below` pages newest first and a span of time is a range of ids on the primary key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.facts import USAGE_DENIED
from leasebox.values.ids import Id, TenantId

_TENANTS = """
SELECT t.id, t.status, t.created_at,
       coalesce((SELECT array_agg(w.address ORDER BY w.bound_at, w.address) FROM wallets w WHERE w.tenant_id = t.id),
                '{}') AS wallets
FROM tenants t
WHERE ($1::uuid IS NULL OR t.id < $1) AND ($2::uuid IS NULL OR t.id = $2) AND ($3::text IS NULL OR t.status = $3)
  AND ($4::uuid IS NULL OR t.id >= $4) AND ($5::uuid IS NULL OR t.id < $5)
ORDER BY t.id DESC LIMIT $6
"""
_COUNTS = """
SELECT (SELECT count(*) FROM agents WHERE tenant_id = $1) AS agents,
       (SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL
            AND (expires_at IS NULL OR expires_at > $2)) AS api_keys,
       (SELECT count(*) FROM leases WHERE tenant_id = $1) AS leases,
       (SELECT count(*) FROM leases WHERE tenant_id = $1 AND state <> 'released' AND expires_at > $2) AS live_leases,
       (SELECT count(*) FROM messages WHERE tenant_id = $1) AS messages,
       (SELECT coalesce(sum(used_bytes), 0)::bigint FROM leases WHERE tenant_id = $1) AS stored_bytes,
       (SELECT max(created_at) FROM sessions WHERE tenant_id = $1) AS last_sign_in_at
"""
_OWNERS = {
    "ten": "SELECT id FROM tenants WHERE id = $1",
    "agt": "SELECT tenant_id FROM agents WHERE id = $1",
    "key": "SELECT tenant_id FROM api_keys WHERE id = $1",
    "mbx": "SELECT tenant_id FROM mailboxes WHERE id = $1",
    "lse": "SELECT tenant_id FROM leases WHERE id = $1",
    "inv": "SELECT tenant_id FROM invoices WHERE id = $1",
}
_OWNER_OF_WALLET = "SELECT tenant_id FROM wallets WHERE address = $1"
_OWNER_OF_ADDRESS = "SELECT tenant_id FROM addresses WHERE address = $1"


async def tenants(
    tx: Tx,
    below: object,
    tenant_id: TenantId | None,
    status: str | None,
    first: object,
    before: object,
    limit: int,
) -> Sequence[Record]:
    """Newest first; ids from `first` to under `before`."""
    return await tx.all(_TENANTS, below, tenant_id, status, first, before, limit)


async def tenant_counts(tx: Tx, tenant_id: TenantId, at: datetime) -> Record:
    row = await tx.one(_COUNTS, tenant_id, at)
    assert row is not None
    return row


async def owner_of(tx: Tx, thing: Id) -> TenantId | None:
    """The tenant that an id belongs to."""
    return _tenant(await tx.value(_OWNERS[thing.prefix], thing))


async def owner_of_wallet(tx: Tx, wallet: str) -> TenantId | None:
    """The tenant that a wallet, in lower case, is bound to."""
    return _tenant(await tx.value(_OWNER_OF_WALLET, wallet))


async def owner_of_address(tx: Tx, address: str) -> TenantId | None:
    """The tenant that leased an address last."""
    return _tenant(await tx.value(_OWNER_OF_ADDRESS, address))


def _tenant(found: Any) -> TenantId | None:
    return None if found is None else TenantId.of(found)


_LEASES = """
SELECT l.id, l.tenant_id, l.mailbox_id, l.agent_id, m.address, l.purpose, l.state, l.frozen_at, l.started_at,
       l.expires_at, l.released_at, l.used_bytes, l.used_messages
FROM leases l JOIN mailboxes m ON m.id = l.mailbox_id
WHERE ($1::uuid IS NULL OR l.id < $1) AND ($2::uuid IS NULL OR l.id = $2) AND ($3::uuid IS NULL OR l.tenant_id = $3)
  AND ($4::text IS NULL OR l.mailbox_id = (SELECT mailbox_id FROM addresses WHERE address = $4))
  AND ($5::text IS NULL OR CASE $5
       WHEN 'frozen' THEN l.frozen_at IS NOT NULL
       WHEN 'released' THEN l.state = 'released'
       WHEN 'expired' THEN l.state <> 'released' AND l.expires_at <= $6
       ELSE l.state = $5 AND l.expires_at > $6 AND l.frozen_at IS NULL END)
ORDER BY l.id DESC LIMIT $7
"""
_USAGE = """
SELECT id, tenant_id, agent_id, credential_id, method, path, meter, price_version, unit_price_micros, free_quantity,
       paid_quantity, amount_micros, proof_id, request_id, occurred_at
FROM usage_events
WHERE ($1::uuid IS NULL OR tenant_id = $1) AND id >= $2 AND id < $3 AND ($4::text IS NULL OR meter = $4)
ORDER BY id DESC LIMIT $5
"""
_USAGE_SUMS = """
SELECT meter, price_version, unit_price_micros, count(*) AS events, count(DISTINCT tenant_id) AS tenants,
       sum(free_quantity)::bigint AS free_quantity, sum(paid_quantity)::bigint AS paid_quantity,
       sum(amount_micros)::bigint AS amount_micros
FROM usage_events WHERE ($1::uuid IS NULL OR tenant_id = $1) AND id >= $2 AND id < $3
GROUP BY meter, price_version, unit_price_micros ORDER BY meter, price_version
"""
# The type stands in the statement, so that its partial index is used.
_DENIALS = f"""
SELECT id, tenant_id, at, payload FROM facts
WHERE type = '{USAGE_DENIED}' AND ($1::uuid IS NULL OR id < $1) AND ($2::uuid IS NULL OR tenant_id = $2)
  AND ($3::text IS NULL OR payload ->> 'error' = $3) AND ($4::uuid IS NULL OR id >= $4)
ORDER BY id DESC LIMIT $5
"""
_BURSTS = """
SELECT date_trunc('hour', created_at, 'UTC') AS starts_at, count(*) AS tenants,
       count(*) FILTER (WHERE NOT EXISTS (SELECT FROM wallets w WHERE w.tenant_id = t.id)) AS unbound
FROM tenants t WHERE id >= $1 AND id < $2
GROUP BY 1 HAVING count(*) >= $3 ORDER BY 1 DESC LIMIT 1000
"""


async def leases(
    tx: Tx,
    below: object,
    lease_id: Id | None,
    tenant_id: TenantId | None,
    address: str | None,
    status: str | None,
    at: datetime,
    limit: int,
) -> Sequence[Record]:
    """Newest first. status `frozen`: whatever else became of it."""
    return await tx.all(_LEASES, below, lease_id, tenant_id, address, status, at, limit)


async def usage_events(
    tx: Tx, tenant_id: TenantId | None, first: object, before: object, meter: str | None, limit: int
) -> Sequence[Record]:
    """Newest first; ids from `first` to under `before`."""
    return await tx.all(_USAGE, tenant_id, first, before, meter, limit)


async def usage_sums(tx: Tx, tenant_id: TenantId | None, first: object, before: object) -> Sequence[Record]:
    """By meter and price version."""
    return await tx.all(_USAGE_SUMS, tenant_id, first, before)


async def denials(
    tx: Tx, below: object, tenant_id: TenantId | None, error: str | None, first: object, limit: int
) -> Sequence[Record]:
    """Calls refused for want of payment or for a bad proof, newest first."""
    return await tx.all(_DENIALS, below, tenant_id, error, first, limit)


async def bursts(tx: Tx, first: object, before: object, at_least: int) -> Sequence[Record]:
    """Hours in which many tenants were made, latest first."""
    return await tx.all(_BURSTS, first, before, at_least)


class AuditFilter(msgspec.Struct, frozen=True):
    """Which audit rows are wanted: each criterion that is not None narrows it. first, before: a range of ids."""

    actor: str | None
    action: str | None
    resource: str | None
    tenant_id: TenantId | None
    outcome: str | None
    first: object
    before: object


_AUDIT = """
SELECT id, at, tenant_id, actor, action, resource, outcome, request_id, detail FROM audit_rows
WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR resource = $4) AND ($5::uuid IS NULL OR tenant_id = $5)
  AND ($6::text IS NULL OR outcome = $6) AND ($7::uuid IS NULL OR id >= $7) AND ($8::uuid IS NULL OR id < $8)
ORDER BY id DESC LIMIT $9
"""


async def audit_rows(tx: Tx, wanted: AuditFilter, below: object, limit: int) -> Sequence[Record]:
    """Newest first."""
    return await tx.all(
        _AUDIT,
        below,
        wanted.actor,
        wanted.action,
        wanted.resource,
        wanted.tenant_id,
        wanted.outcome,
        wanted.first,
        wanted.before,
        limit,
    )
