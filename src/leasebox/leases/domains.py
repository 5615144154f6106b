"""Verbs of custom domains: add, look at, settle what a check showed, remove; and the keys that mail is signed with.

A live lease stands on a custom domain only while the domain is verified by the lease's own tenant: granting holds the
domain's row, and whatever takes the name away ends the leases on it in the same transaction. So mail meant for a
domain's next owner is never taken for its earlier one, and a mail server asks one question per recipient.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import msgspec

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity.model import Caller
from leasebox.infra import log
from leasebox.infra.db import Tx
from leasebox.infra.seal import CannotOpen
from leasebox.leases import dkim_store, oversight_store
from leasebox.leases import domains_store as store
from leasebox.leases.dkim_keys import PublicKey, SealedKey, SigningKey, opened
from leasebox.leases.domains_errors import DomainBlocked, DomainExists, DomainInUse, TooManyDomains
from leasebox.leases.domains_model import (
    LOST_AFTER,
    LOST_CHECKS,
    RETIRED_STAYS,
    DnsRecord,
    Domain,
    DomainPolicy,
    Findings,
    is_proven,
    new_token,
    own_records,
    records_of,
    require_answers,
    waiting_keys_are_out,
)
from leasebox.leases.life import tell_released
from leasebox.leases.model import LeasePolicy
from leasebox.values.errors import Forbidden, NotFound
from leasebox.values.ids import DomainId, LeaseId, TenantId
from leasebox.values.keys import KeyRing


class Published(msgspec.Struct, frozen=True):
    """A domain with its keys."""

    domain: Domain
    keys: tuple[PublicKey, ...]

    def records(self, policy: DomainPolicy) -> tuple[DnsRecord, ...]:
        """All that its owner publishes."""
        return records_of(self.domain, self.keys, policy)


class Outcome(Enum):
    """What a check made of a domain."""

    UNCHANGED = "unchanged"
    VERIFIED = "verified"
    LOST = "lost"
    TAKEN = "taken"
    """Proven, and yet another tenant's."""


_ACTIONS = {Outcome.VERIFIED: "domain.verify", Outcome.LOST: "domain.lose"}


class Settled(msgspec.Struct, frozen=True):
    """A domain after a check."""

    outcome: Outcome
    published: Published


async def signing_keys(tx: Tx, keys: KeyRing, domain: str, tenant_id: TenantId | None) -> tuple[SigningKey, ...]:
    """What a tenant's mail from a domain (lower case, A-labels) is signed with, RSA first: its own keys while the
    domain is its verified one, else the instance's own. None at all where the domain is neither's.

    keys: the ring of Purpose.DKIM_KEY. A key that this ring cannot open is left out, and the log says why.
    """
    found = []
    for kept in await dkim_store.signing(tx, domain, tenant_id):
        try:
            found.append(opened(domain, kept, keys))
        except CannotOpen as fault:
            log.get("domains").error("mail goes unsigned", domain=domain, selector=kept.selector, why=str(fault))
    return tuple(found)


async def public_records(tx: Tx, domain: str, policy: DomainPolicy, at: datetime) -> tuple[DnsRecord, ...]:
    """What is to stand in the DNS for a domain of the instance's own, or a tenant's verified one; else nothing."""
    if domain in policy.own:
        return own_records(domain, await own_keys(tx, domain, at), policy)
    found = await store.verified(tx, domain)
    return () if found is None else (await _published(tx, [found], at))[0].records(policy)


async def hosted(tx: Tx, names: Sequence[str]) -> frozenset[str]:
    """Those of these domains (lower case, A-labels) that are some tenant's verified ones: their mail comes in here."""
    return await store.verified_among(tx, names)


async def own_keys(tx: Tx, name: str, at: datetime) -> tuple[PublicKey, ...]:
    """The published keys of a domain of the instance's own."""
    rows = await dkim_store.published(tx, [], [name], at - RETIRED_STAYS)
    return tuple(key for owner, _, key in rows if owner is None)


async def require_room(tx: Tx, caller: Caller, name: str, policy: DomainPolicy) -> None:
    """Refuse early what `add` would refuse. Raises DomainExists, TooManyDomains (409)."""
    if await store.find_by_name(tx, caller.tenant_id, name) is not None:
        raise DomainExists(f"You have {name} already.")
    if await store.count_pending(tx, caller.tenant_id) >= policy.pending_cap:
        raise TooManyDomains(f"{policy.pending_cap} of your domains wait to be verified; that is the most.")


async def add(
    tx: Tx,
    caller: Caller,
    name: str,
    made: Sequence[SealedKey],
    policy: DomainPolicy,
    at: datetime,
    request_id: str,
) -> Published:
    """Bring a domain along, with its DKIM keys; it waits to be verified. Others may wait for the same name.

    Raises Forbidden (a credential limited to some mailboxes), DomainExists, TooManyDomains (409).
    """
    require_whole_tenant(caller)
    domain_id = DomainId.new(at)
    domain = await store.insert(tx, domain_id, caller.tenant_id, name, new_token(), at, policy.pending_cap)
    if domain is None:
        await require_room(tx, caller, name, policy)
        raise DomainExists(f"{name} was added in this very moment.")
    await dkim_store.insert(tx, name, domain_id, "signing", made, at)
    await record(tx, caller.act(at, request_id, "domain.add", str(domain_id)))
    return (await _published(tx, [domain], at))[0]


async def get(tx: Tx, caller: Caller, domain_id: DomainId, at: datetime) -> Published:
    """One domain of the caller's tenant. Raises NotFound, Forbidden (a credential limited to some mailboxes)."""
    require_whole_tenant(caller)
    domain = await store.find(tx, caller.tenant_id, domain_id)
    if domain is None:
        raise NotFound("No such domain.")
    return (await _published(tx, [domain], at))[0]


async def listed(tx: Tx, caller: Caller, below: object, limit: int, at: datetime) -> list[Published]:
    """Newest first. Raises Forbidden (a credential limited to some mailboxes)."""
    require_whole_tenant(caller)
    return await _published(tx, await store.listed(tx, caller.tenant_id, below, limit), at)


async def search(
    tx: Tx, below: object, tenant_id: TenantId | None, name: str | None, state: str | None, limit: int, at: datetime
) -> list[Published]:
    """Domains of all tenants, newest first: for operators."""
    return await _published(tx, await store.search(tx, below, tenant_id, name, state, limit), at)


async def get_any(tx: Tx, domain_id: DomainId, at: datetime) -> Published:
    """One domain of whichever tenant: for operators. Raises NotFound."""
    domain = await store.find_any(tx, domain_id)
    if domain is None:
        raise NotFound("No such domain.")
    return (await _published(tx, [domain], at))[0]


async def due(tx: Tx, checked_before: datetime, above: DomainId, limit: int, at: datetime) -> list[Published]:
    """Verified domains that were last looked at before a moment, by ascending id."""
    return await _published(tx, await store.due(tx, checked_before, above, limit), at)


async def remove(tx: Tx, caller: Caller, domain_id: DomainId, at: datetime, request_id: str) -> None:
    """Give a domain up; its keys go with it. Mail of ended leases stays readable for its retention.

    Raises NotFound, Forbidden, DomainBlocked (403), DomainInUse (409: live leases stand on it).
    """
    require_whole_tenant(caller)
    await _lock_name(tx, domain_id)
    domain = (await get(tx, caller, domain_id, at)).domain
    require_unblocked(domain)
    live = await store.live_of(tx, domain.name, caller.tenant_id, at)
    if live and domain.state == "verified":
        raise DomainInUse(f"{len(live)} live leases stand on {domain.name}.", leases=len(live))
    await store.delete(tx, caller.tenant_id, domain_id)
    await record(tx, caller.act(at, request_id, "domain.remove", str(domain_id)))


async def settle(
    tx: Tx, seen: Published, found: Findings, act: Act, domains: DomainPolicy, leases: LeasePolicy
) -> Settled:
    """Let a check's findings decide: a domain that is proven becomes its tenant's, one long unproven ceases to be.

    act: who checked, as the audit log is to name it if something changes; its `at` is the moment of the check.
    Raises DnsSilent where a required record is unknown, NotFound where the domain has been deleted meanwhile.
    """
    before, at = seen.domain, act.at
    tenant_id, domain_id = before.tenant_id, before.domain_id
    records = seen.records(domains)
    require_answers(records, found)
    await _lock_name(tx, domain_id)
    note = store.note_seen if found[records[0].key].state == "found" else store.note_missed
    noted = await note(tx, tenant_id, domain_id, found, at)
    if noted is None:
        raise NotFound("No such domain.")
    outcome, after = Outcome.UNCHANGED, noted
    # An operator who unverified it while the DNS was asked has the last word.
    if noted.state == "pending" and noted.reason == before.reason and is_proven(records, found):
        async with tx.across_tenants("a name is one tenant's only, and leases of others end on it"):
            outcome, after = await _verified(tx, noted, leases, at)
    elif noted.state == "verified":
        outcome, after = await _kept_or_lost(tx, noted, leases, at)
    if waiting_keys_are_out(seen.keys, before.name, found):
        await dkim_store.advance(tx, before.name, domain_id, at)
    if outcome in (Outcome.VERIFIED, Outcome.LOST):
        await record(tx, msgspec.structs.replace(act, action=_ACTIONS[outcome]))
    return Settled(outcome, (await _published(tx, [after], at))[0])


async def settle_own(tx: Tx, name: str, keys: Sequence[PublicKey], found: Findings, at: datetime) -> None:
    """Note what a check found of a domain of the instance's own. keys: those that were looked for."""
    await store.note_own(tx, name, found, at)
    if waiting_keys_are_out(keys, name, found):
        await dkim_store.advance(tx, name, None, at)


async def own_findings(tx: Tx, names: Sequence[str]) -> dict[str, tuple[Findings, datetime]]:
    """What the last check of each of the instance's own domains found, and when it was; those never checked lack."""
    return {name: (found, at) for name, (found, at) in (await store.own(tx, names)).items()}


async def add_waiting_keys(
    tx: Tx, name: str, domain_id: DomainId | None, made: Sequence[SealedKey], at: datetime
) -> int:
    """Keys that sign once a check finds their records; how many, none where some wait already. None: our own domain."""
    return await dkim_store.insert(tx, name, domain_id, "waiting", made, at)


async def advance_keys(tx: Tx, name: str, domain_id: DomainId | None, at: datetime) -> None:
    """Let the waiting keys sign at once and retire the ones before them, whose records stay for seven days."""
    await dkim_store.advance(tx, name, domain_id, at)


async def unverify(tx: Tx, domain_id: DomainId, act: Act, leases: LeasePolicy) -> Published:
    """Take a domain from its tenant, by an operator's word: the leases on it end, and the tenant cannot verify it
    again until an operator's check does. Again: nothing. Raises NotFound."""
    await _lock_name(tx, domain_id)
    found = await get_any(tx, domain_id, act.at)
    if found.domain.reason == "by_operator":
        return found
    after = await store.unverify(tx, found.domain.tenant_id, domain_id)
    assert after is not None
    await _end(tx, await store.live_of(tx, after.name, after.tenant_id, act.at), leases, act.at)
    await record(tx, act)
    return (await _published(tx, [after], act.at))[0]


def require_whole_tenant(caller: Caller) -> None:
    """Raises Forbidden (403) for an API key limited to some mailboxes: a domain is the whole tenant's."""
    if caller.mailbox_ids is not None:
        raise Forbidden("This credential is limited to some mailboxes; domains are the whole tenant's.")


def require_unblocked(domain: Domain) -> None:
    """Raises DomainBlocked (403) where an operator has taken the domain away."""
    if domain.reason == "by_operator":
        raise DomainBlocked(f"An operator has unverified {domain.name}.")


async def _lock_name(tx: Tx, domain_id: DomainId) -> None:
    async with tx.across_tenants("others may wait for the same name"):
        await store.lock_name(tx, domain_id)


async def _verified(tx: Tx, domain: Domain, leases: LeasePolicy, at: datetime) -> tuple[Outcome, Domain]:
    after = await store.verify(tx, domain.tenant_id, domain.domain_id, at)
    if after is None:
        return Outcome.TAKEN, domain
    # None stand there as a rule: losing a domain ends them. But the name may have been the instance's own once, and a
    # server whose clock lags may have renewed one in the last moment.
    await _end(tx, await store.live_of_others(tx, domain.name, domain.tenant_id, at), leases, at)
    return Outcome.VERIFIED, after


async def _kept_or_lost(tx: Tx, domain: Domain, leases: LeasePolicy, at: datetime) -> tuple[Outcome, Domain]:
    after = await store.lose(tx, domain.tenant_id, domain.domain_id, LOST_CHECKS, at - LOST_AFTER)
    if after is None:
        return Outcome.UNCHANGED, domain
    await _end(tx, await store.live_of(tx, domain.name, domain.tenant_id, at), leases, at)
    return Outcome.LOST, after


async def _end(tx: Tx, lease_ids: Sequence[LeaseId], leases: LeasePolicy, at: datetime) -> None:
    if lease_ids and await oversight_store.release(tx, lease_ids, at, leases.name_hold):
        await tell_released(tx, lease_ids, at)


async def _published(tx: Tx, domains: Sequence[Domain], at: datetime) -> list[Published]:
    rows = await dkim_store.published(tx, [each.domain_id for each in domains], [], at - RETIRED_STAYS)
    return [Published(each, tuple(key for owner, _, key in rows if owner == each.domain_id)) for each in domains]
