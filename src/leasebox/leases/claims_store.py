"""SQL of claims. A claim belongs to no tenant until it is approved; its secrets stand where a tenant else would."""

from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.leases.claims_model import Claim, ClaimId
from leasebox.values.ids import LeaseId

_CLAIM = """
c.id, c.name, c.domain, c.asked_from, c.state, c.reason, c.created_at, c.expires_at, c.decided_at, c.lease_id,
l.tenant_id, l.agent_id, l.mailbox_id, l.expires_at AS lease_expires_at
"""
_FROM = "FROM claims c LEFT JOIN leases l ON l.id = c.lease_id"
_INSERT = """
INSERT INTO claims (id, name, domain, asked_from, token_hash, link_hash, key_hash, key_hint, sealed_key, state,
                    created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', $10, $11)
"""
_FIND = f"SELECT {_CLAIM} {_FROM} WHERE c.id = $1 AND c.token_hash = $2 AND c.expires_at > $3"
_FIND_BY_LINK = f"SELECT {_CLAIM} {_FROM} WHERE c.link_hash = $1 AND c.expires_at > $2"
_AGAIN = f"SELECT {_CLAIM} {_FROM} WHERE c.id = $1"
# A new tenant never was the last one of an address, so a name that is held is taken as well.
_TAKEN = "(a.origin <> 'chosen' OR a.leased_until > $2 OR a.held_until > $2)"
_IS_TAKEN = f"SELECT EXISTS (SELECT FROM addresses a WHERE a.address = $1 AND {_TAKEN})"
# The one statement that decides: of any number of decisions at once the first is the only one.
_APPROVE = f"""
WITH look AS (
    SELECT EXISTS (SELECT FROM addresses a WHERE a.address = c.name || '@' || c.domain AND {_TAKEN}) AS taken
    FROM claims c WHERE c.id = $1
)
UPDATE claims SET decided_at = $2, state = CASE WHEN taken THEN 'declined' ELSE 'approved' END,
                  reason = CASE WHEN taken THEN 'address_taken' END
FROM look WHERE id = $1 AND state = 'pending' AND expires_at > $2
RETURNING state, key_hash, key_hint
"""
_DECLINE = """
UPDATE claims SET state = 'declined', reason = 'by_person', decided_at = $2
WHERE id = $1 AND state = 'pending' AND expires_at > $2
"""
_LINK_LEASE = "UPDATE claims SET lease_id = $2 WHERE id = $1 AND state = 'approved' AND lease_id IS NULL"
_COLLECT = """
WITH held AS (
    SELECT c.id, c.sealed_key, c.collected_at FROM claims c JOIN api_keys k ON k.token_hash = c.key_hash
    WHERE c.id = $1 AND c.token_hash = $2 AND c.state = 'approved' AND c.sealed_key IS NOT NULL AND c.decided_at > $3
      AND k.awaited AND k.revoked_at IS NULL
    FOR UPDATE OF c
)
UPDATE claims SET collected_at = coalesce(held.collected_at, $4) FROM held
WHERE claims.id = held.id RETURNING held.sealed_key, held.collected_at IS NULL AS first
"""
_FORGET = """
DELETE FROM claims WHERE id IN (SELECT id FROM claims WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


async def insert(
    tx: Tx, claim: Claim, token_hash: bytes, link_hash: bytes, key_hash: bytes, key_hint: str, sealed_key: bytes
) -> None:
    await tx.run(
        _INSERT,
        claim.claim_id,
        claim.name,
        claim.domain,
        claim.asked_from,
        token_hash,
        link_hash,
        key_hash,
        key_hint,
        sealed_key,
        claim.created_at,
        claim.expires_at,
    )


async def find(tx: Tx, claim_id: ClaimId, token_hash: bytes, kept_since: datetime) -> Record | None:
    return await tx.one(_FIND, claim_id, token_hash, kept_since)


async def find_by_link(tx: Tx, link_hash: bytes, kept_since: datetime) -> Record | None:
    return await tx.one(_FIND_BY_LINK, link_hash, kept_since)


async def again(tx: Tx, claim_id: ClaimId) -> Record | None:
    """A claim that the caller has found already, as it is now."""
    return await tx.one(_AGAIN, claim_id)


async def is_taken(tx: Tx, address: str, at: datetime) -> bool:
    """Whether an address could not be leased by a new tenant now. Only the lease itself decides."""
    return bool(await tx.value(_IS_TAKEN, address, at))


async def approve(tx: Tx, claim_id: ClaimId, at: datetime) -> Record | None:
    """The new state (declined where the address is taken) and the key to be; None if it was not pending any more."""
    return await tx.one(_APPROVE, claim_id, at)


async def decline(tx: Tx, claim_id: ClaimId, at: datetime) -> int:
    return await tx.run(_DECLINE, claim_id, at)


async def link_lease(tx: Tx, claim_id: ClaimId, lease_id: LeaseId) -> None:
    await tx.run(_LINK_LEASE, claim_id, lease_id)


async def collect(
    tx: Tx, claim_id: ClaimId, token_hash: bytes, decided_since: datetime, at: datetime
) -> tuple[bytes, bool] | None:
    """The sealed key while nobody has used it, and whether this is the first time; it is so for one caller only."""
    row = await tx.one(_COLLECT, claim_id, token_hash, decided_since, at)
    return None if row is None else (row["sealed_key"], row["first"])


async def forget(tx: Tx, before: datetime, limit: int) -> int:
    return await tx.run(_FORGET, before, limit)
