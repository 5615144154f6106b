"""Verbs of identity: challenge, redeem, sign in and out, bind wallets, agents, API keys."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity import siwe, store, tokens
from leasebox.identity.errors import AgentDisabled, BeyondMaker, OwnAgent, TenantInactive, WalletsBySession
from leasebox.identity.model import (
    SCOPES,
    SESSION_TTL,
    Agent,
    ApiKey,
    Caller,
    KeyOrder,
    Session,
    Signer,
)
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.ids import AgentId, KeyId, MailboxId, SessionId, TenantId
from leasebox.values.secret import Secret, fingerprint

# Whoever knows the mailboxes (leases, which stand above us) tells whether the caller has this one, or raises NotFound.
LookAtMailbox = Callable[[Tx, Caller, MailboxId], Awaitable[object]]


async def sign_in(tx: Tx, signer: Signer, at: datetime, request_id: str) -> Session:
    """A session for a wallet; its tenant, wallet row and agent are made on its first sign-in. For `Database.at_once`.

    Two at once make one tenant: the wallet's lock lets the second wait for the first. Raises TenantInactive (403),
    AgentDisabled (403).
    """
    session = await _sign_in(tx, signer, "found", at, request_id)
    assert session is not None
    return session


async def sign_in_known(tx: Tx, signer: Signer, at: datetime, request_id: str) -> Session | None:
    """The same for a wallet that has a tenant; None, and nothing done, for one that has none."""
    return await _sign_in(tx, signer, "leave", at, request_id)


async def _sign_in(tx: Tx, signer: Signer, strangers: store.Strangers, at: datetime, request_id: str) -> Session | None:
    token, session_id, expires_at = tokens.new_session_token(), SessionId.new(at), at + SESSION_TTL
    row = await store.sign_in(tx, signer, strangers, fingerprint(token), session_id, SCOPES, at, expires_at, request_id)
    match row["outcome"]:
        case "newcomer":
            return None
        case "inactive":
            raise TenantInactive(f"This tenant is {row['status']}.")
        case "disabled":
            raise AgentDisabled("The agent of this wallet is disabled.", agent_id=str(AgentId.of(row["agent_id"])))
    tenant_id, agent_id = TenantId.of(row["tenant_id"]), AgentId.of(row["agent_id"])
    return Session(token, tenant_id, agent_id, signer, expires_at, row["outcome"] == "new")


async def found_tenant(tx: Tx, name: str, at: datetime, request_id: str) -> Caller:
    """A tenant without a wallet and its first agent, called `name`; as the caller that it will be.

    For the transaction that also hands out the tenant's only credential, by `adopt_key`. Until a wallet is bound it
    owes nothing (its credit limit is 0) and sends little (the cooldown).
    """
    tenant_id, agent_id = TenantId.new(at), AgentId.new(at)
    await store.insert_unbound_tenant(tx, tenant_id, agent_id, name, at)
    await record(tx, Act(at, str(agent_id), "tenant.create", str(tenant_id), tenant_id, request_id))
    return Caller(tenant_id, agent_id, SessionId.new(at), frozenset(SCOPES), None, None, None, None, "active")


async def sign_out(tx: Tx, caller: Caller, at: datetime, request_id: str) -> None:
    """End the caller's session. Raises Unprocessable for an API key, which is deleted instead."""
    if not isinstance(caller.credential_id, SessionId):
        raise Unprocessable("An API key has no session.", fix="Delete the key with DELETE /v2/api-keys/{id}.")
    await store.revoke_session(tx, caller.tenant_id, caller.credential_id, at)
    await record(tx, caller.act(at, request_id, "session.revoke", str(caller.credential_id)))


async def forget_sessions(tx: Tx, before: datetime) -> int:
    """Drop the rows of sessions that ended before a moment; how many. They were useless since then."""
    return await store.drop_old_sessions(tx, before)


async def make_agent(tx: Tx, caller: Caller, name: str, at: datetime, request_id: str) -> Agent:
    """A further agent of the caller's tenant."""
    agent = _agent(await store.insert_agent(tx, caller.tenant_id, name, at))
    await record(tx, caller.act(at, request_id, "agent.create", str(agent.agent_id)))
    return agent


async def change_agent(
    tx: Tx, caller: Caller, agent_id: AgentId, name: str | None, status: str | None, at: datetime, request_id: str
) -> Agent:
    """Rename, disable or enable an agent; a disabled one's sessions and keys stop.

    Raises NotFound, BeyondMaker (a key of one agent), WalletsBySession (an API key that would keep a wallet's owner
    out, or let one in again), OwnAgent (409: disabling itself could lock its tenant out).
    """
    if caller.bound_agent not in (None, agent_id):
        raise BeyondMaker("Your own key belongs to one agent.")
    if status == "disabled" and caller.agent_id == agent_id:
        raise OwnAgent("An agent cannot disable itself.")
    row = await store.change_agent(tx, caller.tenant_id, agent_id, name, status)
    if row is None:
        raise NotFound("No such agent.")
    if status is not None and row["wallet_address"] is not None and isinstance(caller.credential_id, KeyId):
        raise WalletsBySession("An API key cannot disable or enable the agent of a wallet.")
    await record(tx, caller.act(at, request_id, "agent.change", str(agent_id)))
    return _agent(row)


async def list_agents(tx: Tx, caller: Caller, below: object, limit: int) -> list[Agent]:
    """Newest first, up to `limit`, those with ids under `below`."""
    return [_agent(row) for row in await store.list_agents(tx, caller.tenant_id, below, limit)]


async def require_agent(tx: Tx, tenant_id: TenantId, agent_id: AgentId) -> None:
    """Raises NotFound unless this tenant has that agent, and it is active."""
    if not await store.has_agent(tx, tenant_id, agent_id):
        raise NotFound("No such active agent.")


async def make_key(
    tx: Tx, caller: Caller, order: KeyOrder, look: LookAtMailbox, at: datetime, request_id: str
) -> tuple[Secret, ApiKey]:
    """A new API key and its text, which is shown this once. `look` raises NotFound for a mailbox that is not there.

    Raises Unprocessable (expires_at), BeyondMaker (403), NotFound (agent, mailbox).
    """
    _require_within(caller, order, at)
    for mailbox_id in order.mailbox_ids or ():
        await look(tx, caller, mailbox_id)
    if order.agent_id is not None:
        await require_agent(tx, caller.tenant_id, order.agent_id)
    token = tokens.new_api_key()
    return token, await _keep_key(tx, caller, order, fingerprint(token), tokens.hint_of(token), at, request_id)


async def adopt_key(
    tx: Tx, caller: Caller, order: KeyOrder, token_hash: bytes, hint: str, at: datetime, request_id: str
) -> ApiKey:
    """Make a key good whose text was drawn before, and of which only SHA-256 and hint are at hand.

    It is awaited until it is first used: so long its text may be shown. Raises Unprocessable (expires_at), BeyondMaker
    (403).
    """
    _require_within(caller, order, at)
    key = await _keep_key(tx, caller, order, token_hash, hint, at, request_id)
    await store.await_key(tx, caller.tenant_id, key.key_id)
    return key


async def list_keys(tx: Tx, caller: Caller, below: object, limit: int) -> list[ApiKey]:
    """Keys that were not revoked, newest first; for a key, those within its own limits."""
    return [_key(row) for row in await store.list_keys(tx, caller, below, limit)]


async def revoke_key(tx: Tx, caller: Caller, key_id: KeyId, at: datetime, request_id: str) -> bytes:
    """Stop a key everywhere within a second; its stored hash, for the local cache to forget. Raises NotFound."""
    row = await store.revoke_key(tx, caller, key_id, at)
    if row is None:
        raise NotFound("No such API key.")
    await record(tx, caller.act(at, request_id, "api_key.revoke", str(key_id)))
    return bytes(row["token_hash"])


async def _keep_key(
    tx: Tx, caller: Caller, order: KeyOrder, token_hash: bytes, hint: str, at: datetime, request_id: str
) -> ApiKey:
    key = _key(await store.insert_key(tx, caller.tenant_id, order, token_hash, hint, caller.actor, at))
    await record(tx, caller.act(at, request_id, "api_key.create", str(key.key_id)))
    return key


def _require_within(caller: Caller, order: KeyOrder, at: datetime) -> None:
    if order.expires_at is not None and order.expires_at <= at:
        raise Unprocessable("expires_at lies in the past.", fix="Give a later time, or leave it out.")
    beyond = sorted(set(order.scopes) - caller.scopes)
    if beyond:
        raise BeyondMaker(f"You lack the scope(s) {', '.join(beyond)} yourself.")
    if caller.mailbox_ids is not None and not _covers(caller.mailbox_ids, order.mailbox_ids):
        raise BeyondMaker("Your own key is limited to some mailboxes.")
    if isinstance(caller.credential_id, KeyId):
        _require_within_key(caller, order)


def _require_within_key(maker: Caller, order: KeyOrder) -> None:
    if maker.expires_at is not None and (order.expires_at is None or order.expires_at > maker.expires_at):
        raise BeyondMaker("Your own key ends earlier.")
    if maker.agent_id not in (None, order.agent_id):
        raise BeyondMaker("Your own key belongs to one agent.")


def _covers(own: frozenset[MailboxId], asked: Sequence[MailboxId] | None) -> bool:
    return asked is not None and own.issuperset(asked)


def _agent(row: Any) -> Agent:
    wallet = None if row["wallet_address"] is None else siwe.checksummed(row["wallet_address"])
    return Agent(AgentId.of(row["id"]), row["name"], row["status"], wallet, row["created_at"])


def _key(row: Any) -> ApiKey:
    mailboxes = row["mailbox_ids"]
    return ApiKey(
        KeyId.of(row["id"]),
        row["name"],
        row["hint"],
        None if row["agent_id"] is None else AgentId.of(row["agent_id"]),
        tuple(row["scopes"]),
        None if mailboxes is None else tuple(MailboxId.of(each) for each in mailboxes),
        row["created_at"],
        row["expires_at"],
    )
