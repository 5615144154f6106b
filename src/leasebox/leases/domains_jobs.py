"""Background work of domains: look at them again every day, make and mind the keys that mail is signed with."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from leasebox.audit.model import Act
from leasebox.infra import log
from leasebox.infra.db import Database
from leasebox.infra.reseal import SealedTable
from leasebox.leases import dkim_store, domains
from leasebox.leases.dkim_keys import make_pair, seal
from leasebox.leases.domains import Outcome, Published
from leasebox.leases.domains_dns import DnsLook
from leasebox.leases.domains_errors import DnsSilent
from leasebox.leases.domains_model import CHECK_EVERY, RETIRED_STAYS, DomainPolicy, own_records, require_answers
from leasebox.leases.model import LeasePolicy
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound
from leasebox.values.ids import DomainId
from leasebox.values.keys import KeyRing

ACTOR = "job:domains"
_AT_ONCE = 4


async def recheck(
    db: Database, dns: DnsLook, policy: DomainPolicy, leases: LeasePolicy, clock: Clock, stop: asyncio.Event
) -> int:
    """Look at each verified domain that was not looked at for a day, until `stop`; how many were lost.

    Silence of the DNS counts for nothing: such a domain is looked at again next time. Safe to run twice or late.
    """
    started, above, lost = clock.now(), DomainId.of(UUID(int=0)), 0
    while not stop.is_set() and (batch := await _due(db, started, above)):
        above = batch[-1].domain.domain_id
        lost += sum(await asyncio.gather(*(_check(db, dns, each, policy, leases, clock) for each in batch)))
    return lost


async def recheck_own(db: Database, dns: DnsLook, policy: DomainPolicy, clock: Clock) -> None:
    """Look at the instance's own domains that were not looked at for a day."""
    seen = await db.read(lambda tx: domains.own_findings(tx, policy.own))
    for name in policy.own:
        if name not in seen or seen[name][1] <= clock.now() - CHECK_EVERY:
            try:
                await check_own(db, dns, name, policy, clock)
            except DnsSilent as silence:
                log.get("domains").debug("own domain not checked", domain=name, why=silence.message)


async def check_own(db: Database, dns: DnsLook, name: str, policy: DomainPolicy, clock: Clock) -> None:
    """Look one of the instance's own domains up now, and note what is found. Raises DnsSilent, DnsOff."""
    keys = await db.read(lambda tx: domains.own_keys(tx, name, clock.now()))
    records = own_records(name, keys, policy)
    found = await dns.look(records)
    require_answers(records, found)
    now = clock.now()
    await db.transact(lambda tx: domains.settle_own(tx, name, keys, found, now))


async def tend_keys(db: Database, keys: KeyRing, own: Sequence[str], clock: Clock) -> None:
    """Make what is missing, drop what retired long ago."""
    await ensure_own_keys(db, keys, own, clock)
    now = clock.now()
    await db.transact(lambda tx: dkim_store.forget(tx, now - RETIRED_STAYS))


def sealed_keys(keys: KeyRing) -> SealedTable:
    """The private keys, for sealing them anew. keys: of Purpose.DKIM_KEY."""
    return SealedTable("dkim_keys", keys, dkim_store.by_key, dkim_store.sealed_otherwise, dkim_store.reseal)


async def ensure_own_keys(db: Database, keys: KeyRing, own: Sequence[str], clock: Clock) -> None:
    """Make a pair for each of the instance's own domains that has none. Two processes at once make one."""
    for name in await db.read(lambda tx: dkim_store.without_keys(tx, own)):
        await _make(db, keys, name, clock.now())


async def _make(db: Database, keys: KeyRing, name: str, at: datetime) -> None:
    made = await asyncio.to_thread(lambda: [seal(key, keys) for key in make_pair(name)])
    await db.transact(lambda tx: dkim_store.insert(tx, name, None, "signing", made, at))


async def _due(db: Database, started: datetime, above: DomainId) -> list[Published]:
    return await db.read(lambda tx: domains.due(tx, started - CHECK_EVERY, above, _AT_ONCE, started))


async def _check(
    db: Database, dns: DnsLook, seen: Published, policy: DomainPolicy, leases: LeasePolicy, clock: Clock
) -> int:
    """1 where the domain is lost."""
    domain, said = seen.domain, log.get("domains")
    try:
        found = await dns.look(seen.records(policy))
        act = Act(clock.now(), ACTOR, "domain.check", str(domain.domain_id), domain.tenant_id, "")
        settled = await db.transact(lambda tx: domains.settle(tx, seen, found, act, policy, leases))
    except DnsSilent as silence:
        said.debug("domain not checked", domain=domain.name, why=silence.message)
        return 0
    except NotFound:  # deleted meanwhile
        return 0
    if settled.outcome is Outcome.LOST:
        said.warning("domain lost", domain=domain.name, domain_id=str(domain.domain_id))
        return 1
    return 0
