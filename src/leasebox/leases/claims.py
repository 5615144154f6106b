"""Verbs of claims: start, look, approve, decline, collect.

An approval makes a tenant without a wallet, its agent, a lease and an API key for that one mailbox, all in one
transaction. The name is taken then and not before: a claim reserves nothing, so nobody can hold names by asking.
"""

from datetime import datetime
from typing import Any

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity import tokens
from leasebox.identity.model import KeyOrder
from leasebox.identity.service import adopt_key, found_tenant
from leasebox.infra.db import Tx
from leasebox.leases import claims_store as store
from leasebox.leases.claims_errors import ClaimOver, NameTaken, NoSuchClaim
from leasebox.leases.claims_model import (
    CLAIM_TTL,
    KEPT_FOR,
    LEASE_HOURS,
    SCOPES,
    Claim,
    ClaimId,
    ClaimOrder,
    Started,
)
from leasebox.leases.claims_seal import is_link, new_link, new_token, opened, seal
from leasebox.leases.errors import AddressTaken
from leasebox.leases.model import LeaseOrder, LeasePolicy
from leasebox.leases.service import grant
from leasebox.values.ids import AgentId, LeaseId, MailboxId, TenantId
from leasebox.values.secret import Secret, fingerprint

_FORGOTTEN_AT_ONCE = 100


async def start(tx: Tx, order: ClaimOrder, at: datetime, request_id: str) -> Started:
    """A claim that waits 30 minutes for a decision. Forgets some that are long over, so no job has to.

    Raises AddressTaken (409) for a name that is taken already; one that is free now may be taken until approval.
    """
    claim = Claim(
        ClaimId.new(at),
        order.name,
        order.domain,
        order.asked_from,
        "pending",
        None,
        at,
        at + CLAIM_TTL,
        *(None,) * 6,
    )
    if await store.is_taken(tx, claim.address, at):
        raise AddressTaken(f"{claim.address} is taken.", fix="Choose another name.")
    token, link, key = new_token(), new_link(), tokens.new_api_key()
    sealed = seal(key, token, claim.claim_id)
    hashes = fingerprint(token), fingerprint(link), fingerprint(key)
    await store.forget(tx, at - KEPT_FOR, _FORGOTTEN_AT_ONCE)
    await store.insert(tx, claim, *hashes, tokens.hint_of(key), sealed)
    await record(tx, _act(claim, at, request_id, "claim.start"))
    return Started(claim, token, link)


async def find(tx: Tx, claim_id: ClaimId, token: Secret, at: datetime) -> Claim:
    """The claim that this token belongs to. Raises NoSuchClaim (404), also for the token of another one."""
    return _claim(await store.find(tx, claim_id, fingerprint(token), at - KEPT_FOR))


async def look(tx: Tx, link: Secret, at: datetime) -> Claim:
    """The claim that an approval page shows. Changes nothing. Raises NoSuchClaim (404)."""
    if not is_link(link.reveal()):
        raise NoSuchClaim("There is no such claim.")
    return _claim(await store.find_by_link(tx, fingerprint(link), at - KEPT_FOR))


async def approve(tx: Tx, claim: Claim, policy: LeasePolicy, at: datetime, request_id: str) -> Claim:
    """Give the mailbox; again: the same answer. A claim whose name was taken meanwhile is declined instead.

    Two at once make one tenant: the claim's row decides. Raises ClaimOver (409: declined or expired), NameTaken (409:
    the address was leased in this very moment), UnknownDomain (422: the operator gave the domain up).
    """
    decided = await store.approve(tx, claim.claim_id, at)
    if decided is None:
        return _require(await _again(tx, claim), "approved", at)
    if decided["state"] == "approved":
        await _give(tx, claim, decided, policy, at, request_id)
    now = await _again(tx, claim)
    await record(tx, _act(now, at, request_id, "claim.approve", now.reason or "done"))
    return now


async def decline(tx: Tx, claim: Claim, at: datetime, request_id: str) -> Claim:
    """Refuse it for good; again: the same answer. Raises ClaimOver (409: approved or expired)."""
    if not await store.decline(tx, claim.claim_id, at):
        return _require(await _again(tx, claim), "declined", at)
    await record(tx, _act(claim, at, request_id, "claim.decline"))
    return await _again(tx, claim)


async def collect(tx: Tx, claim: Claim, token: Secret, at: datetime, request_id: str) -> Secret | None:
    """The API key of an approved claim: the same each time, until it is first used or a day after the approval.

    So an answer that got lost costs nothing. None when it is not there (any more).
    """
    found = await store.collect(tx, claim.claim_id, fingerprint(token), at - KEPT_FOR, at)
    if found is None:
        return None
    sealed, first = found
    if first:
        await record(tx, _act(claim, at, request_id, "claim.collect"))
    return opened(sealed, token, claim.claim_id)


async def _give(tx: Tx, claim: Claim, decided: Any, policy: LeasePolicy, at: datetime, request_id: str) -> None:
    founder = await found_tenant(tx, claim.name, at, request_id)
    assert founder.agent_id is not None
    order = LeaseOrder(founder.agent_id, "claimed", LEASE_HOURS, claim.name, claim.domain, {})
    try:
        lease = (await grant(tx, founder, order, policy, at, request_id)).lease
    except AddressTaken as refusal:
        raise NameTaken(refusal.message) from None
    wanted = KeyOrder(claim.address, SCOPES, founder.agent_id, (lease.mailbox_id,), None)
    await adopt_key(tx, founder, wanted, decided["key_hash"], decided["key_hint"], at, request_id)
    await store.link_lease(tx, claim.claim_id, lease.lease_id)


def _require(claim: Claim, wanted: str, at: datetime) -> Claim:
    status = claim.status(at)
    if status != wanted:
        raise ClaimOver(f"This claim is {status} already.", claim_status=status)
    return claim


def _act(claim: Claim, at: datetime, request_id: str, action: str, outcome: str = "done") -> Act:
    """Who acts is a stranger: all we know is that they had the claim's token or its link."""
    detail = {"address": claim.address}
    return Act(at, f"claim:{claim.claim_id}", action, str(claim.claim_id), claim.tenant_id, request_id, outcome, detail)


async def _again(tx: Tx, claim: Claim) -> Claim:
    return _claim(await store.again(tx, claim.claim_id))


def _claim(row: Any) -> Claim:
    if row is None:
        raise NoSuchClaim("There is no such claim, or this is not its token.")
    leased = row["tenant_id"] is not None
    return Claim(
        ClaimId.of(row["id"]),
        row["name"],
        row["domain"],
        row["asked_from"],
        row["state"],
        row["reason"],
        row["created_at"],
        row["expires_at"],
        row["decided_at"],
        TenantId.of(row["tenant_id"]) if leased else None,
        AgentId.of(row["agent_id"]) if leased else None,
        MailboxId.of(row["mailbox_id"]) if leased else None,
        LeaseId.of(row["lease_id"]) if leased else None,
        row["lease_expires_at"],
    )
