"""SQL of custom domains. Rows are locked in this order, here as everywhere: domains, addresses, leases."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.leases.domains_model import Domain, Finding, Findings, findings_of
from leasebox.values.ids import DomainId, LeaseId, TenantId

# Additions of one tenant come one after the other, so that its cap holds.
_QUEUE = "SELECT pg_advisory_xact_lock(hashtextextended('leasebox/domains/' || $1, 0))"
_INSERT = """
INSERT INTO domains (id, tenant_id, name, state, token, found, created_at, misses)
SELECT $1, $2, $3, 'pending', $4, '{}', $5, 0
WHERE (SELECT count(*) FROM domains WHERE tenant_id = $2 AND state = 'pending') < $6
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING *
"""
_FIND = "SELECT * FROM domains WHERE tenant_id = $1 AND id = $2"
_FIND_BY_NAME = "SELECT * FROM domains WHERE tenant_id = $1 AND name = $2"
_COUNT_PENDING = "SELECT count(*) FROM domains WHERE tenant_id = $1 AND state = 'pending'"
_LISTED = """
SELECT * FROM domains WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
# All rows of one name, so that of two who prove it in the same moment the second sees what became of the first.
_LOCK_NAME = """
SELECT id FROM domains WHERE name = (SELECT name FROM domains WHERE id = $1) ORDER BY id FOR UPDATE
"""
_NOTE = """
UPDATE domains SET found = $3, checked_at = $4,
    misses = CASE WHEN $5 THEN misses + 1 ELSE 0 END,
    missing_since = CASE WHEN $5 THEN coalesce(missing_since, $4) END
WHERE tenant_id = $1 AND id = $2
RETURNING *
"""
_VERIFY = """
UPDATE domains d SET state = 'verified', reason = NULL, verified_at = $3, misses = 0, missing_since = NULL
WHERE tenant_id = $1 AND id = $2 AND state = 'pending'
  AND NOT EXISTS (SELECT FROM domains other WHERE other.name = d.name AND other.state = 'verified')
RETURNING *
"""
_LOSE = """
UPDATE domains SET state = 'pending', reason = 'ownership_lost'
WHERE tenant_id = $1 AND id = $2 AND state = 'verified' AND misses >= $3 AND missing_since <= $4
RETURNING *
"""
_UNVERIFY = """
UPDATE domains SET state = 'pending', reason = 'by_operator' WHERE tenant_id = $1 AND id = $2 RETURNING *
"""
_DELETE = "DELETE FROM domains WHERE tenant_id = $1 AND id = $2"
_LIVE_ON = """
SELECT l.id FROM mailboxes m JOIN leases l ON l.mailbox_id = m.id
WHERE m.domain = $1 AND l.state <> 'released' AND l.expires_at > $2 AND l.purged_at IS NULL
"""
_LIVE_OF = f"{_LIVE_ON} AND l.tenant_id = $3 ORDER BY l.id"
_LIVE_OF_OTHERS = f"{_LIVE_ON} AND l.tenant_id <> $3 ORDER BY l.id"
# Whoever leases an address of the domain holds its row meanwhile: it cannot be lost or deleted under the lease.
_HOLD = "SELECT id FROM domains WHERE tenant_id = $1 AND name = $2 AND state = 'verified' FOR SHARE"
_VERIFIED_OF = "SELECT * FROM domains WHERE name = $1 AND state = 'verified'"
_VERIFIED_AMONG = "SELECT name FROM domains WHERE name = ANY ($1) AND state = 'verified'"
_ANY = "SELECT * FROM domains WHERE id = $1"
_SEARCH = """
SELECT * FROM domains
WHERE ($1::uuid IS NULL OR id < $1) AND ($2::uuid IS NULL OR tenant_id = $2) AND ($3::text IS NULL OR name = $3)
  AND ($4::text IS NULL OR state = $4)
ORDER BY id DESC LIMIT $5
"""
_DUE = """
SELECT * FROM domains WHERE state = 'verified' AND (checked_at IS NULL OR checked_at <= $1) AND id > $2
ORDER BY id LIMIT $3
"""
_NOTE_OWN = """
INSERT INTO own_domains (name, found, checked_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET found = $2, checked_at = $3
"""
_OWN = "SELECT name, found, checked_at FROM own_domains WHERE name = ANY ($1)"
# Addresses are public, so no tenant narrows this; but a domain's addresses are those of its present tenant only.
_ROUTE = """
SELECT l.id, l.tenant_id, l.mailbox_id, l.state, l.frozen_at, l.expires_at, l.used_bytes, l.used_messages
FROM domains d
LEFT JOIN addresses a ON a.address = $2 AND a.tenant_id = d.tenant_id
LEFT JOIN leases l ON l.id = a.lease_id
WHERE d.name = $1 AND d.state = 'verified'
"""


async def insert(
    tx: Tx, domain_id: DomainId, tenant_id: TenantId, name: str, token: str, at: datetime, cap: int
) -> Domain | None:
    """The new row; None where the tenant has the name already, or as many waiting as it may."""
    await tx.run(_QUEUE, str(tenant_id))
    row = await tx.one(_INSERT, domain_id, tenant_id, name, token, at, cap)
    return None if row is None else domain_of(row)


async def find(tx: Tx, tenant_id: TenantId, domain_id: DomainId) -> Domain | None:
    return _maybe(await tx.one(_FIND, tenant_id, domain_id))


async def find_by_name(tx: Tx, tenant_id: TenantId, name: str) -> Domain | None:
    return _maybe(await tx.one(_FIND_BY_NAME, tenant_id, name))


async def count_pending(tx: Tx, tenant_id: TenantId) -> int:
    return int(await tx.value(_COUNT_PENDING, tenant_id))


async def listed(tx: Tx, tenant_id: TenantId, below: object, limit: int) -> list[Domain]:
    """Newest first."""
    return [domain_of(row) for row in await tx.all(_LISTED, tenant_id, below, limit)]


async def lock_name(tx: Tx, domain_id: DomainId) -> None:
    """Keep all rows of this domain's name until commit."""
    await tx.all(_LOCK_NAME, domain_id)


async def note_seen(tx: Tx, tenant_id: TenantId, domain_id: DomainId, found: Findings, at: datetime) -> Domain | None:
    """Write a check down that showed the ownership record; None where the domain is gone."""
    return _maybe(await tx.one(_NOTE, tenant_id, domain_id, _stored(found), at, False))


async def note_missed(tx: Tx, tenant_id: TenantId, domain_id: DomainId, found: Findings, at: datetime) -> Domain | None:
    """Write a check down that did not show the ownership record; None where the domain is gone."""
    return _maybe(await tx.one(_NOTE, tenant_id, domain_id, _stored(found), at, True))


async def verify(tx: Tx, tenant_id: TenantId, domain_id: DomainId, at: datetime) -> Domain | None:
    """Give the name to this tenant; None where somebody has it."""
    return _maybe(await tx.one(_VERIFY, tenant_id, domain_id, at))


async def lose(tx: Tx, tenant_id: TenantId, domain_id: DomainId, checks: int, missing_since: datetime) -> Domain | None:
    """Take the name back, if it was missed in so many checks and since then; None where it stays."""
    return _maybe(await tx.one(_LOSE, tenant_id, domain_id, checks, missing_since))


async def unverify(tx: Tx, tenant_id: TenantId, domain_id: DomainId) -> Domain | None:
    return _maybe(await tx.one(_UNVERIFY, tenant_id, domain_id))


async def delete(tx: Tx, tenant_id: TenantId, domain_id: DomainId) -> int:
    return await tx.run(_DELETE, tenant_id, domain_id)


async def live_of(tx: Tx, name: str, tenant_id: TenantId, at: datetime) -> list[LeaseId]:
    """A tenant's leases on a domain that have not ended."""
    return [LeaseId.of(row["id"]) for row in await tx.all(_LIVE_OF, name, at, tenant_id)]


async def live_of_others(tx: Tx, name: str, tenant_id: TenantId, at: datetime) -> list[LeaseId]:
    """Everybody else's."""
    return [LeaseId.of(row["id"]) for row in await tx.all(_LIVE_OF_OTHERS, name, at, tenant_id)]


async def hold(tx: Tx, tenant_id: TenantId, name: str) -> bool:
    """Whether this is a verified domain of the tenant's; if so it stays one until commit."""
    return await tx.one(_HOLD, tenant_id, name) is not None


async def verified(tx: Tx, name: str) -> Domain | None:
    """Whoever's domain this is."""
    return _maybe(await tx.one(_VERIFIED_OF, name))


async def verified_among(tx: Tx, names: Sequence[str]) -> frozenset[str]:
    return frozenset(row["name"] for row in await tx.all(_VERIFIED_AMONG, names))


async def find_any(tx: Tx, domain_id: DomainId) -> Domain | None:
    """A domain of whichever tenant: for operators."""
    return _maybe(await tx.one(_ANY, domain_id))


async def search(
    tx: Tx, below: object, tenant_id: TenantId | None, name: str | None, state: str | None, limit: int
) -> list[Domain]:
    """Domains of all tenants, newest first: for operators."""
    return [domain_of(row) for row in await tx.all(_SEARCH, below, tenant_id, name, state, limit)]


async def due(tx: Tx, checked_before: datetime, above: DomainId, limit: int) -> list[Domain]:
    """Verified domains that were last looked at before a moment, by ascending id."""
    return [domain_of(row) for row in await tx.all(_DUE, checked_before, above, limit)]


async def note_own(tx: Tx, name: str, found: Findings, at: datetime) -> None:
    await tx.run(_NOTE_OWN, name, _stored(found), at)


async def own(tx: Tx, names: Sequence[str]) -> dict[str, tuple[dict[str, Finding], datetime]]:
    """What was seen of the instance's own domains, and when."""
    return {row["name"]: (findings_of(row["found"]), row["checked_at"]) for row in await tx.all(_OWN, names)}


async def route(tx: Tx, name: str, address: str) -> Record | None:
    """None where the domain is nobody's; else its tenant's latest lease of the address, nulls where there is none."""
    return await tx.one(_ROUTE, name, address)


def domain_of(row: Record) -> Domain:
    return Domain(
        DomainId.of(row["id"]),
        TenantId.of(row["tenant_id"]),
        row["name"],
        row["state"],
        row["reason"],
        row["token"],
        findings_of(row["found"]),
        row["created_at"],
        row["checked_at"],
        row["verified_at"],
        row["missing_since"],
    )


def _maybe(row: Record | None) -> Domain | None:
    return None if row is None else domain_of(row)


def _stored(found: Findings) -> dict[str, Any]:
    return {key: {"state": each.state, "seen": list(each.seen)} for key, each in found.items()}
