"""SQL of admin sessions."""

from datetime import datetime

from asyncpg import Record

from leasebox.admin.model import AdminSessionId
from leasebox.infra.db import Tx

_INSERT = """
INSERT INTO admin_sessions (id, token_hash, wallet_address, chain_id, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_FIND = """
SELECT id, wallet_address, expires_at FROM admin_sessions
WHERE token_hash = $1 AND revoked_at IS NULL AND expires_at > $2
"""
_REVOKE = "UPDATE admin_sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL"
_DROP_OLD = "DELETE FROM admin_sessions WHERE expires_at < $1"


async def insert(
    tx: Tx, session_id: AdminSessionId, token_hash: bytes, wallet: str, chain_id: int, at: datetime, until: datetime
) -> None:
    await tx.run(_INSERT, session_id, token_hash, wallet, chain_id, at, until)


async def find(tx: Tx, token_hash: bytes, at: datetime) -> Record | None:
    """A live session."""
    return await tx.one(_FIND, token_hash, at)


async def revoke(tx: Tx, session_id: AdminSessionId, at: datetime) -> int:
    return await tx.run(_REVOKE, session_id, at)


async def drop_old(tx: Tx, before: datetime) -> int:
    return await tx.run(_DROP_OLD, before)
