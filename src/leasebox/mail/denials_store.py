"""SQL of denied domains."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx

_DOMAINS = "SELECT domain FROM denied_domains WHERE direction = $1"
_LIST = "SELECT domain, note, made_by, at FROM denied_domains WHERE direction = $1 ORDER BY domain"
_ADD = """
INSERT INTO denied_domains (direction, domain, note, made_by, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_DROP = "DELETE FROM denied_domains WHERE direction = $1 AND domain = $2 RETURNING note"


async def domains(tx: Tx, direction: str) -> list[str]:
    return [row["domain"] for row in await tx.all(_DOMAINS, direction)]


async def listed(tx: Tx, direction: str) -> Sequence[Record]:
    return await tx.all(_LIST, direction)


async def add(tx: Tx, direction: str, domain: str, note: str, made_by: str, at: datetime) -> int:
    """1, or 0 if it stood there already."""
    return await tx.run(_ADD, direction, domain, note, made_by, at)


async def drop(tx: Tx, direction: str, domain: str) -> str | None:
    """The note that stood beside it; None if it did not stand there."""
    note: str | None = await tx.value(_DROP, direction, domain)
    return note
