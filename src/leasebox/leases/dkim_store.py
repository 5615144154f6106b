"""SQL of the keys that mail is signed with. domain_id None: a domain of the instance's own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.infra.reseal import SealedRow
from leasebox.leases.dkim_keys import PublicKey, SealedKey, place_of
from leasebox.values.ids import DomainId, TenantId

# Whose keys sign a tenant's mail from a name: its own if that is its verified domain, else the instance's own.
_SIGNING = """
WITH k AS (
    SELECT * FROM dkim_keys k WHERE domain = $1 AND state = 'signing'
       AND (domain_id IS NULL OR EXISTS (
           SELECT FROM domains d WHERE d.id = k.domain_id AND d.state = 'verified' AND d.tenant_id = $2))
)
SELECT selector, algorithm, kid, sealed, public_key FROM k
WHERE domain_id IS NOT DISTINCT FROM (SELECT domain_id FROM k ORDER BY domain_id NULLS LAST LIMIT 1)
ORDER BY algorithm DESC
"""
_PUBLISHED = """
SELECT domain_id, domain, selector, algorithm, state, public_key, retired_at FROM dkim_keys
WHERE (domain_id = ANY ($1) OR domain_id IS NULL AND domain = ANY ($2)) AND (retired_at IS NULL OR retired_at > $3)
ORDER BY retired_at DESC NULLS FIRST, state, algorithm DESC
"""
_INSERT = """
INSERT INTO dkim_keys (domain, domain_id, state, created_at, selector, algorithm, kid, sealed, public_key)
SELECT $1, $2, $3, $4, * FROM unnest($5::text[], $6::text[], $7::text[], $8::bytea[], $9::text[])
ON CONFLICT DO NOTHING
"""
# Two statements, because of the unique index: one key of an algorithm steps back before the other steps forward.
_RETIRE = """
UPDATE dkim_keys k SET state = 'retired', retired_at = $3, sealed = NULL
WHERE domain = $1 AND domain_id IS NOT DISTINCT FROM $2 AND state = 'signing' AND EXISTS (
    SELECT FROM dkim_keys w WHERE w.domain = k.domain AND w.domain_id IS NOT DISTINCT FROM k.domain_id
       AND w.algorithm = k.algorithm AND w.state = 'waiting')
"""
_ADVANCE = """
UPDATE dkim_keys SET state = 'signing'
WHERE domain = $1 AND domain_id IS NOT DISTINCT FROM $2 AND state = 'waiting'
"""
_WITHOUT = """
SELECT name FROM unnest($1::text[]) AS name WHERE NOT EXISTS (
    SELECT FROM dkim_keys WHERE domain = name AND domain_id IS NULL AND state = 'signing')
"""
_BY_KEY = "SELECT kid, count(*) AS rows FROM dkim_keys WHERE sealed IS NOT NULL GROUP BY kid"
_SEALED_OTHERWISE = """
SELECT domain, selector, algorithm, kid, sealed FROM dkim_keys
WHERE sealed IS NOT NULL AND kid <> $1 AND (domain, selector) > ($2, $3)
ORDER BY domain, selector LIMIT $4 FOR UPDATE
"""
_RESEAL = """
UPDATE dkim_keys k SET kid = $1, sealed = n.sealed
FROM unnest($2::text[], $3::text[], $4::bytea[]) AS n (domain, selector, sealed)
WHERE k.domain = n.domain AND k.selector = n.selector
"""
_FORGET = "DELETE FROM dkim_keys WHERE retired_at <= $1"


async def signing(tx: Tx, domain: str, tenant_id: TenantId | None) -> list[SealedKey]:
    """What signs a tenant's mail from a domain, RSA first. tenant_id None: only the instance's own keys."""
    return [_sealed(row) for row in await tx.all(_SIGNING, domain, tenant_id)]


async def published(
    tx: Tx, domain_ids: Sequence[DomainId], own: Sequence[str], since: datetime
) -> list[tuple[DomainId | None, str, PublicKey]]:
    """The keys of these domains whose records are to stand in the DNS: those in use, and retired later than `since`."""
    return [
        (None if row["domain_id"] is None else DomainId.of(row["domain_id"]), row["domain"], _public(row))
        for row in await tx.all(_PUBLISHED, domain_ids, own, since)
    ]


async def insert(
    tx: Tx, domain: str, domain_id: DomainId | None, state: str, made: Sequence[SealedKey], at: datetime
) -> int:
    """Add keys; how many. Where the domain has keys of this state and algorithm already, none."""
    columns: list[list[Any]] = [
        [each.selector for each in made],
        [each.algorithm for each in made],
        [each.kid for each in made],
        [each.sealed for each in made],
        [each.public for each in made],
    ]
    return await tx.run(_INSERT, domain, domain_id, state, at, *columns)


async def advance(tx: Tx, domain: str, domain_id: DomainId | None, at: datetime) -> int:
    """Let the waiting keys sign and retire those that did; how many keys sign anew."""
    await tx.run(_RETIRE, domain, domain_id, at)
    return await tx.run(_ADVANCE, domain, domain_id)


async def without_keys(tx: Tx, own: Sequence[str]) -> list[str]:
    """Those of the instance's own domains that nothing signs for yet."""
    return [row["name"] for row in await tx.all(_WITHOUT, own)]


async def by_key(tx: Tx) -> Mapping[str, int]:
    """How many private keys each key of ours seals."""
    return {row["kid"]: row["rows"] for row in await tx.all(_BY_KEY)}


async def sealed_otherwise(tx: Tx, kid: str, after: tuple[Any, ...] | None, limit: int) -> Sequence[SealedRow]:
    """Private keys that are sealed with another key than this one, behind a domain and selector, locked."""
    rows = await tx.all(_SEALED_OTHERWISE, kid, *(after or ("", "")), limit)
    return [
        SealedRow(
            (row["domain"], row["selector"]),
            place_of(row["domain"], row["selector"], row["algorithm"]),
            row["kid"],
            row["sealed"],
        )
        for row in rows
    ]


async def reseal(tx: Tx, kid: str, rows: Sequence[SealedRow]) -> None:
    """Keep these as they were sealed anew with the key of this id."""
    await tx.run(_RESEAL, kid, *map(list, zip(*(row.key for row in rows), strict=True)), [row.sealed for row in rows])


async def forget(tx: Tx, before: datetime) -> int:
    """Drop keys that were retired before a moment; how many."""
    return await tx.run(_FORGET, before)


def _sealed(row: Record) -> SealedKey:
    return SealedKey(row["selector"], row["algorithm"], row["kid"], row["sealed"], row["public_key"])


def _public(row: Record) -> PublicKey:
    return PublicKey(row["selector"], row["algorithm"], row["state"], row["public_key"], row["retired_at"])
