"""What the verbs promise other slices: whose a domain is, who signs, where its mail goes; who has the last word."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leasebox.audit.model import Act
from leasebox.infra.db import Tx
from leasebox.leases import domains, service
from leasebox.leases.dkim_keys import make_pair, seal
from leasebox.leases.domains import Outcome, Published, Settled
from leasebox.leases.domains_errors import DnsSilent
from leasebox.leases.domains_jobs import ensure_own_keys
from leasebox.leases.domains_model import Finding, Findings, RecordState
from leasebox.values.errors import NotFound
from leasebox.values.ids import DomainId, TenantId
from leasebox.wiring import process
from leasebox.wiring.domains import dkim_keys, domain_policy
from tests import kit_mail
from tests.kit import Agent
from tests.leases.estate import DOMAINS, Estate, settled, zone_of

OWN = "inbox.leasebox.test"


@pytest.fixture
async def estate(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Estate]:
    async with settled(database_url, redis_url, tmp_path) as one:
        yield one


def tenant_of(agent: Agent) -> TenantId:
    return TenantId.parse(agent.session["tenant_id"])


async def seen_of(estate: Estate, view: dict[str, Any]) -> Published:
    wanted, now = DomainId.parse(view["domain_id"]), estate.house.clock.now()
    return await estate.house.db.read(lambda tx: domains.get_any(tx, wanted, now))


def findings(
    estate: Estate, seen: Published, state: RecordState = "found", **others: RecordState
) -> dict[str, Finding]:
    """All records in one state but those of the purposes named."""
    records = seen.records(domain_policy(estate.house.settings))
    return {each.key: Finding(others.get(each.purpose, state)) for each in records}


async def settle(estate: Estate, seen: Published, found: Findings) -> Settled:
    settings = estate.house.settings
    act = Act(estate.house.clock.now(), "job:test", "domain.check", str(seen.domain.domain_id), None, "")
    policy, leases = domain_policy(settings), process.lease_policy(settings)
    return await estate.house.db.transact(lambda tx: domains.settle(tx, seen, found, act, policy, leases))


async def test_keys_sign_for_a_tenants_domain_only_while_it_is_verified(estate: Estate) -> None:
    agent, other, name = await estate.house.agent(), await estate.house.agent(), estate.name()
    keys = dkim_keys(estate.house.settings)

    async def selectors() -> list[str]:
        found = await estate.house.db.read(lambda tx: domains.signing_keys(tx, keys, name, tenant_of(agent)))
        assert all(each.domain == name for each in found)
        theirs = await estate.house.db.read(lambda tx: domains.signing_keys(tx, keys, name, tenant_of(other)))
        assert theirs == (), "another tenant's mail is never signed with them"
        return [each.selector for each in found]

    await estate.add(other, name)
    view = await estate.add(agent, name)
    assert await selectors() == []
    estate.publish(view)
    await estate.verify(agent, view)
    assert await selectors() == [
        each["name"].partition(".")[0] for each in view["records"] if each["purpose"] == "dkim"
    ]


async def test_a_tenants_keys_come_before_those_the_instance_had_for_the_name_once(estate: Estate) -> None:
    agent, name, keys = await estate.house.agent(), estate.name(), dkim_keys(estate.house.settings)
    await ensure_own_keys(estate.house.db, keys, [name], estate.house.clock)
    own = await estate.house.db.read(lambda tx: domains.signing_keys(tx, keys, name, tenant_of(agent)))
    view = await estate.verified(agent, name)
    found = await estate.house.db.read(lambda tx: domains.signing_keys(tx, keys, name, tenant_of(agent)))
    assert len(own) == len(found) == 2
    assert {f"txt {each.selector}._domainkey.{name}" for each in found} <= set(zone_of(view))


async def test_what_other_slices_ask_about_names(estate: Estate) -> None:
    agent, pending = await estate.house.agent(), estate.name()
    view = await estate.verified(agent)
    await estate.add(agent, pending)
    policy, now, db = domain_policy(estate.house.settings), estate.house.clock.now(), estate.house.db
    assert await db.read(lambda tx: domains.hosted(tx, [view["domain"], pending, OWN, "x.test"])) == {view["domain"]}
    told = await db.read(lambda tx: domains.public_records(tx, view["domain"], policy, now))
    assert {f"{each.type.lower()} {each.name}" for each in told} == set(zone_of(view))
    own = await db.read(lambda tx: domains.public_records(tx, OWN, policy, now))
    assert [each.purpose for each in own] == ["mx", "spf", "dmarc"], "no keys before they are needed"
    assert await db.read(lambda tx: domains.public_records(tx, "x.test", policy, now)) == ()


async def test_mail_finds_its_way_by_one_question(estate: Estate) -> None:
    agent, other = await estate.house.agent(), await estate.house.agent()
    view = await estate.verified(agent)
    lease = await agent.lease(domain=view["domain"])

    class Counting(Tx):
        asked = 0

        async def one(self, sql: str, *values: Any) -> Any:
            type(self).asked += 1
            return await super().one(sql, *values)

    async def at(domain: str, address: str) -> Any:
        return await estate.house.db.read(lambda tx: service.route_at(Counting(tx._connection), domain, address))

    found = await at(view["domain"], lease["address"])
    assert str(found.route.mailbox_id) == lease["mailbox_id"]
    nobody = await at(view["domain"], f"nobody@{view['domain']}")
    assert nobody is not None
    assert nobody.route is None
    assert await at("x.test", "a@x.test") is None
    assert Counting.asked == 3
    strange = TenantId.parse(other.session["tenant_id"])
    await kit_mail.change(
        estate.house, "UPDATE addresses SET tenant_id = $1 WHERE address = $2", strange, lease["address"]
    )
    foreign = await at(view["domain"], lease["address"])
    assert foreign.route is None, "an address of another tenant's is none of this domain's"


@pytest.mark.parametrize("silent", [{"ownership": "unknown"}, {"mx": "unknown"}], ids=["ownership", "mx"])
async def test_silence_about_what_is_required_settles_nothing(estate: Estate, silent: dict[str, RecordState]) -> None:
    seen = await seen_of(estate, await estate.add(await estate.house.agent()))
    with pytest.raises(DnsSilent):
        await settle(estate, seen, findings(estate, seen, **silent))
    assert await seen_of(estate, {"domain_id": str(seen.domain.domain_id)}) == seen


async def test_what_a_check_makes_of_a_domain(estate: Estate) -> None:
    first, second, name = await estate.house.agent(), await estate.house.agent(), estate.name()
    mine, theirs = [await seen_of(estate, await estate.add(agent, name)) for agent in (first, second)]
    assert (await settle(estate, mine, findings(estate, mine, "missing"))).outcome is Outcome.UNCHANGED
    settled_ = await settle(estate, mine, findings(estate, mine, "missing", ownership="found", mx="found"))
    assert (settled_.outcome, settled_.published.domain.state) == (Outcome.VERIFIED, "verified")
    taken = await settle(estate, theirs, findings(estate, theirs))
    assert (taken.outcome, taken.published.domain.state) == (Outcome.TAKEN, "pending")
    assert set(taken.published.domain.found.values()) == {Finding("found")}, "noted all the same"
    again = await settle(estate, mine, findings(estate, mine))
    assert again.outcome is Outcome.UNCHANGED
    elsewhere = await settle(estate, mine, findings(estate, mine, mx="wrong"))
    assert elsewhere.published.domain.state == "verified", "MX is asked for once"
    for hours, outcome in ((0, Outcome.UNCHANGED), (40, Outcome.UNCHANGED), (40, Outcome.LOST)):
        estate.house.clock.advance(hours=hours)
        assert (await settle(estate, mine, findings(estate, mine, ownership="wrong"))).outcome is outcome
    given = await settle(estate, theirs, findings(estate, theirs))
    assert given.outcome is Outcome.VERIFIED, "now it is free"


async def test_two_checks_are_too_few_however_far_apart(estate: Estate) -> None:
    seen = await seen_of(estate, await estate.verified(await estate.house.agent()))
    missing = findings(estate, seen, ownership="missing")
    assert (await settle(estate, seen, missing)).outcome is Outcome.UNCHANGED
    estate.house.clock.advance(days=30)
    assert (await settle(estate, seen, missing)).outcome is Outcome.UNCHANGED
    assert (await settle(estate, seen, missing)).outcome is Outcome.LOST


async def test_an_operator_who_took_it_away_meanwhile_has_the_last_word(estate: Estate) -> None:
    seen = await seen_of(estate, await estate.add(await estate.house.agent()))
    leases, at = process.lease_policy(estate.house.settings), estate.house.clock.now()
    act = Act(at, "wallet:0x1", "domain.unverify", str(seen.domain.domain_id), seen.domain.tenant_id, "")
    await estate.house.db.transact(lambda tx: domains.unverify(tx, seen.domain.domain_id, act, leases))
    assert (await settle(estate, seen, findings(estate, seen))).outcome is Outcome.UNCHANGED
    knowing = await seen_of(estate, {"domain_id": str(seen.domain.domain_id)})
    assert (await settle(estate, knowing, findings(estate, knowing))).outcome is Outcome.VERIFIED


async def test_a_domain_that_is_gone_cannot_be_settled(estate: Estate) -> None:
    agent = await estate.house.agent()
    seen = await seen_of(estate, await estate.add(agent))
    await agent.http.delete(f"{DOMAINS}/{seen.domain.domain_id}")
    with pytest.raises(NotFound):
        await settle(estate, seen, findings(estate, seen))


async def test_new_keys_wait_for_their_records(estate: Estate) -> None:
    seen = await seen_of(estate, await estate.verified(await estate.house.agent()))
    name, domain_id, ring = seen.domain.name, seen.domain.domain_id, dkim_keys(estate.house.settings)
    made, at, db = [seal(key, ring) for key in make_pair(name)], estate.house.clock.now(), estate.house.db
    assert await db.transact(lambda tx: domains.add_waiting_keys(tx, name, domain_id, made, at)) == 2

    async def states() -> list[str]:
        return [each.state for each in (await seen_of(estate, {"domain_id": str(domain_id)})).keys]

    both = await seen_of(estate, {"domain_id": str(domain_id)})
    assert await states() == ["signing", "signing", "waiting", "waiting"]
    await settle(estate, both, findings(estate, both, dkim="missing"))
    assert await states() == ["signing", "signing", "waiting", "waiting"]
    await settle(estate, both, findings(estate, both))
    assert await states() == ["signing", "signing", "retired", "retired"]
    found = await db.read(lambda tx: domains.signing_keys(tx, ring, name, seen.domain.tenant_id))
    assert {each.selector for each in found} == {each.selector for each in made}
