"""SQL of identity. Every statement names the tenant, except those by which a stranger becomes one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from asyncpg import Record

from leasebox.identity.model import Caller, KeyOrder, Signer
from leasebox.infra.db import Tx
from leasebox.values.ids import AgentId, AuditId, Id, KeyId, MailboxId, SessionId, TenantId

Strangers = Literal["found", "leave"]
"""What to do with a wallet that has no tenant yet."""
_SIGN_IN = """
SELECT outcome, tenant_id, agent_id, status
FROM sign_in_wallet($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
_WALLET_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('wallet:' || $1, 0))"
_FIND_TENANT = """
SELECT t.id, t.status FROM wallets w JOIN tenants t ON t.id = w.tenant_id WHERE w.address = $1
"""
_INSERT_UNBOUND_TENANT = """
WITH tenant AS (INSERT INTO tenants (id, status, created_at) VALUES ($1, 'active', $4) RETURNING id)
INSERT INTO agents (id, tenant_id, name, status, created_at) SELECT $2, id, $3, 'active', $4 FROM tenant
"""
_FIND_SESSION = """
SELECT s.id, s.tenant_id, s.agent_id, s.wallet_address, s.chain_id, s.scopes, s.expires_at, t.status AS tenant_status,
       NULL::uuid[] AS mailbox_ids, a.status AS agent_status, false AS awaited
FROM sessions s JOIN tenants t ON t.id = s.tenant_id JOIN agents a ON a.id = s.agent_id
WHERE s.token_hash = $1 AND s.revoked_at IS NULL
"""
_FIND_KEY = """
SELECT k.id, k.tenant_id, k.agent_id, NULL::text AS wallet_address, NULL::bigint AS chain_id, k.scopes, k.expires_at,
       t.status AS tenant_status, k.mailbox_ids, coalesce(a.status, 'active') AS agent_status, k.awaited
FROM api_keys k JOIN tenants t ON t.id = k.tenant_id LEFT JOIN agents a ON a.id = k.agent_id
WHERE k.token_hash = $1 AND k.revoked_at IS NULL
"""
_USE_KEY = "SELECT use_key($1)"
_REVOKE_SESSION = "UPDATE sessions SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL"
_REVOKE_WALLET_SESSIONS = """
UPDATE sessions SET revoked_at = $3 WHERE tenant_id = $1 AND lower(wallet_address) = $2 AND revoked_at IS NULL
"""
_DROP_OLD_SESSIONS = "DELETE FROM sessions WHERE expires_at < $1"


async def lock_wallet(tx: Tx, address: str) -> None:
    """One sign-in or binding of a wallet at a time; released at commit."""
    await tx.run(_WALLET_LOCK, address)


async def find_tenant(tx: Tx, address: str) -> Record | None:
    return await tx.one(_FIND_TENANT, address)


async def insert_unbound_tenant(tx: Tx, tenant_id: TenantId, agent_id: AgentId, name: str, at: datetime) -> None:
    """A tenant without a wallet, and its agent."""
    await tx.run(_INSERT_UNBOUND_TENANT, tenant_id, agent_id, name, at)


async def sign_in(
    tx: Tx,
    signer: Signer,
    strangers: Strangers,
    token_hash: bytes,
    session_id: SessionId,
    scopes: Sequence[str],
    at: datetime,
    expires_at: datetime,
    request_id: str,
) -> Record:
    """A session for a wallet, with what it lacks of tenant and agent, and the audit rows; one statement.

    outcome: known, new, newcomer (one that is to be left alone), inactive (the tenant: `status`), disabled (the agent).
    """
    address = signer.address.lower()
    row = await tx.one(
        _SIGN_IN,
        address,
        signer.address,
        signer.chain_id,
        strangers == "found",
        TenantId.new(at),
        AgentId.new(at),
        f"{address[:6]}…{address[-4:]}",
        session_id,
        str(session_id),
        token_hash,
        scopes,
        at,
        expires_at,
        request_id,
        AuditId.new(at),
        AuditId.new(at),
    )
    assert row is not None
    return row


async def find_session(tx: Tx, token_hash: bytes) -> Record | None:
    return await tx.one(_FIND_SESSION, token_hash)


async def find_key(tx: Tx, token_hash: bytes) -> Record | None:
    return await tx.one(_FIND_KEY, token_hash)


async def use_key(tx: Tx, token_hash: bytes) -> None:
    """Note that an awaited key is in use, and erase what was kept to show it again."""
    await tx.run(_USE_KEY, token_hash)


async def revoke_session(tx: Tx, tenant_id: TenantId, session_id: Id, at: datetime) -> int:
    return await tx.run(_REVOKE_SESSION, tenant_id, session_id, at)


async def drop_old_sessions(tx: Tx, before: datetime) -> int:
    return await tx.run(_DROP_OLD_SESSIONS, before)


_TENANT_LOCK = "SELECT status FROM tenants WHERE id = $1 FOR NO KEY UPDATE"
_INSERT_WALLET = "INSERT INTO wallets (address, tenant_id, chain_id, bound_at) VALUES ($1, $2, $3, $4)"
_LIST_WALLETS = "SELECT address, chain_id, bound_at FROM wallets WHERE tenant_id = $1 ORDER BY bound_at, address"
_DELETE_WALLET = "DELETE FROM wallets WHERE tenant_id = $1 AND address = $2"


async def lock_tenant(tx: Tx, tenant_id: TenantId) -> None:
    """One change of a tenant's wallets at a time."""
    await tx.run(_TENANT_LOCK, tenant_id)


async def insert_wallet(tx: Tx, tenant_id: TenantId, address: str, chain_id: int, at: datetime) -> None:
    await tx.run(_INSERT_WALLET, address, tenant_id, chain_id, at)


async def list_wallets(tx: Tx, tenant_id: TenantId) -> list[Record]:
    return await tx.all(_LIST_WALLETS, tenant_id)


async def delete_wallet(tx: Tx, tenant_id: TenantId, address: str, at: datetime) -> int:
    await tx.run(_REVOKE_WALLET_SESSIONS, tenant_id, address, at)
    return await tx.run(_DELETE_WALLET, tenant_id, address)


_INSERT_AGENT = """
INSERT INTO agents (id, tenant_id, name, status, created_at) VALUES ($1, $2, $3, 'active', $4)
RETURNING id, name, status, wallet_address, created_at
"""
_LIST_AGENTS = """
SELECT id, name, status, wallet_address, created_at FROM agents
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
_CHANGE_AGENT = """
UPDATE agents SET name = coalesce($3, name), status = coalesce($4, status) WHERE tenant_id = $1 AND id = $2
RETURNING id, name, status, wallet_address, created_at
"""
_HAS_AGENT = "SELECT true FROM agents WHERE tenant_id = $1 AND id = $2 AND status = 'active'"


async def insert_agent(tx: Tx, tenant_id: TenantId, name: str, at: datetime) -> Record | None:
    return await tx.one(_INSERT_AGENT, AgentId.new(at), tenant_id, name, at)


async def list_agents(tx: Tx, tenant_id: TenantId, below: object, limit: int) -> list[Record]:
    return await tx.all(_LIST_AGENTS, tenant_id, below, limit)


async def change_agent(
    tx: Tx, tenant_id: TenantId, agent_id: AgentId, name: str | None, status: str | None
) -> Record | None:
    return await tx.one(_CHANGE_AGENT, tenant_id, agent_id, name, status)


async def has_agent(tx: Tx, tenant_id: TenantId, agent_id: AgentId) -> bool:
    return await tx.value(_HAS_AGENT, tenant_id, agent_id) is not None


_KEY_COLUMNS = "id, name, hint, agent_id, scopes, mailbox_ids, created_at, expires_at"
_INSERT_KEY = f"""
INSERT INTO api_keys (id, token_hash, hint, tenant_id, agent_id, name, scopes, mailbox_ids, made_by, created_at,
                      expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING {_KEY_COLUMNS}
"""
_AWAIT_KEY = "UPDATE api_keys SET awaited = true WHERE tenant_id = $1 AND id = $2"
# A key sees and stops keys within its own limits only: those of its mailboxes, those of its agent.
_LIST_KEYS = f"""
SELECT {_KEY_COLUMNS} FROM api_keys
WHERE tenant_id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR id < $2)
  AND ($4::uuid[] IS NULL OR mailbox_ids <@ $4) AND ($5::uuid IS NULL OR agent_id = $5)
ORDER BY id DESC LIMIT $3
"""
_REVOKE_KEY = """
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3)
WHERE tenant_id = $1 AND id = $2
  AND ($4::uuid[] IS NULL OR mailbox_ids <@ $4) AND ($5::uuid IS NULL OR agent_id = $5)
RETURNING token_hash
"""


async def insert_key(
    tx: Tx, tenant_id: TenantId, order: KeyOrder, token_hash: bytes, hint: str, made_by: str, at: datetime
) -> Record | None:
    return await tx.one(
        _INSERT_KEY,
        KeyId.new(at),
        token_hash,
        hint,
        tenant_id,
        order.agent_id,
        order.name,
        list(order.scopes),
        None if order.mailbox_ids is None else list(order.mailbox_ids),
        made_by,
        at,
        order.expires_at,
    )


async def await_key(tx: Tx, tenant_id: TenantId, key_id: KeyId) -> None:
    """Have the key's first use noted."""
    await tx.run(_AWAIT_KEY, tenant_id, key_id)


async def list_keys(tx: Tx, caller: Caller, below: object, limit: int) -> list[Record]:
    return await tx.all(_LIST_KEYS, caller.tenant_id, below, limit, *_limits(caller))


async def revoke_key(tx: Tx, caller: Caller, key_id: KeyId, at: datetime) -> Record | None:
    return await tx.one(_REVOKE_KEY, caller.tenant_id, key_id, at, *_limits(caller))


def _limits(caller: Caller) -> tuple[list[MailboxId] | None, AgentId | None]:
    return None if caller.mailbox_ids is None else list(caller.mailbox_ids), caller.bound_agent
