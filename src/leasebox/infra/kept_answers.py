"""Answers kept for 24 hours under a caller's Idempotency-Key, so that a repeated request finds the first one's outcome.

An answer commits together with the work that it tells of. It may hold a secret that was shown once, so it is sealed:
who reads the table or a dump of it reads nothing. While the first request runs, an advisory lock of its transaction
marks it; unlike a row it vanishes with the process that held it, and whoever asks is told so without waiting.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
from sqlalchemy import CheckConstraint, Column, DateTime, Index, LargeBinary, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from leasebox.infra.db import Tx, metadata
from leasebox.infra.reseal import KID_CHECK, SealedRow, SealedTable
from leasebox.infra.seal import Place
from leasebox.values.ids import TenantId
from leasebox.values.keys import KeyRing

KEPT_FOR = timedelta(hours=24)

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("tenant_id", UUID, primary_key=True),
    Column("key", Text, primary_key=True),
    # SHA-256 over who asked what: method, path, query and body.
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("kid", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(KID_CHECK, name="kid"),
    Index(None, "expires_at"),
)


class Claim(Enum):
    """What stands under a key."""

    FRESH = "fresh"
    RUNNING = "running"
    KEPT = "kept"


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer as it is stored. sealed: the body, encrypted with the key that `kid` names."""

    fingerprint: bytes
    status: int
    kid: str
    sealed: bytes


# A function, because each of its statements sees what was committed before it: the row is looked for under the lock.
_CLAIM = "SELECT outcome, fingerprint, status, kid, sealed FROM claim_answer($1, $2, $3)"
_KEEP = """
INSERT INTO kept_answers (tenant_id, key, fingerprint, status, kid, sealed, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant_id, key) DO UPDATE SET fingerprint = $3, status = $4, kid = $5, sealed = $6, expires_at = $7
"""
_FORGET = "DELETE FROM kept_answers WHERE expires_at <= $1"
_BY_KEY = "SELECT kid, count(*) AS rows FROM kept_answers GROUP BY kid"
_SEALED_OTHERWISE = """
SELECT tenant_id, key, fingerprint, kid, sealed FROM kept_answers
WHERE kid <> $1 AND (tenant_id, key) > ($2, $3) ORDER BY tenant_id, key LIMIT $4 FOR UPDATE
"""
_RESEAL = """
UPDATE kept_answers a SET kid = $1, sealed = n.sealed
FROM unnest($2::uuid[], $3::text[], $4::bytea[]) AS n (tenant_id, key, sealed)
WHERE a.tenant_id = n.tenant_id AND a.key = n.key
"""
_FIRST = (uuid.UUID(int=0), "")


async def claim(tx: Tx, tenant_id: TenantId, key: str, at: datetime) -> tuple[Claim, KeptAnswer | None]:
    """Take a tenant's key until this transaction ends; RUNNING if another transaction has it, KEPT with its answer."""
    row = await tx.one(_CLAIM, tenant_id, key, at)
    assert row is not None
    outcome = Claim(row["outcome"])
    if outcome is not Claim.KEPT:
        return outcome, None
    return outcome, KeptAnswer(row["fingerprint"], row["status"], row["kid"], row["sealed"])


async def keep(tx: Tx, tenant_id: TenantId, key: str, answer: KeptAnswer, at: datetime) -> None:
    """Store the answer under a key that this transaction has claimed FRESH."""
    await tx.run(_KEEP, tenant_id, key, answer.fingerprint, answer.status, answer.kid, answer.sealed, at + KEPT_FOR)


async def forget(tx: Tx, at: datetime) -> int:
    """Drop the answers whose time is over; how many."""
    return await tx.run(_FORGET, at)


def sealed_answers(keys: KeyRing) -> SealedTable:
    """The kept answers, for sealing them anew. keys: of Purpose.KEPT_ANSWER."""
    return SealedTable("kept_answers", keys, _by_key, _sealed_otherwise, _reseal)


def place_of(tenant_id: uuid.UUID, key: str, fingerprint: bytes) -> Place:
    """What a sealed answer belongs to: in another row it cannot be opened."""
    parts = (tenant_id.bytes, key.encode(), fingerprint)
    return Place("kept_answers", parts, tenant_id.bytes + fingerprint + key.encode())


async def _by_key(tx: Tx) -> Mapping[str, int]:
    return {row["kid"]: row["rows"] for row in await tx.all(_BY_KEY)}


async def _sealed_otherwise(tx: Tx, kid: str, after: tuple[Any, ...] | None, limit: int) -> Sequence[SealedRow]:
    rows = await tx.all(_SEALED_OTHERWISE, kid, *(after or _FIRST), limit)
    return [
        SealedRow(
            (row["tenant_id"], row["key"]),
            place_of(row["tenant_id"], row["key"], row["fingerprint"]),
            row["kid"],
            row["sealed"],
        )
        for row in rows
    ]


async def _reseal(tx: Tx, kid: str, rows: Sequence[SealedRow]) -> None:
    await tx.run(_RESEAL, kid, *map(list, zip(*(row.key for row in rows), strict=True)), [row.sealed for row in rows])
