"""What a day does to domains: kept, lost, silent; and the keys that are made, sealed anew and dropped."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from leasebox.infra.db import Tx
from leasebox.infra.dns_resolver import DnsResolver
from leasebox.infra.reseal import reseal
from leasebox.leases import domains
from leasebox.leases.dkim_keys import SealedKey, make_pair, seal
from leasebox.leases.domains_dns import DnsLook
from leasebox.leases.domains_jobs import check_own, ensure_own_keys, recheck, recheck_own, sealed_keys, tend_keys
from leasebox.leases.domains_model import DnsRecord, Finding
from leasebox.values.clock import rfc3339
from leasebox.values.ids import DomainId, LeaseId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.values.secret import Secret
from leasebox.wiring import process
from leasebox.wiring.domains import dkim_keys, dns_look, domain_policy
from tests import kit_mail
from tests.fakes.dns import FakeDns
from tests.kit import Agent
from tests.leases.estate import DOMAINS, Estate, settled

OWN = "inbox.leasebox.test"


@pytest.fixture
async def estate(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Estate]:
    async with settled(database_url, redis_url, tmp_path) as one:
        yield one


@pytest.fixture
async def look(estate: Estate) -> AsyncIterator[DnsLook]:
    asking = dns_look(estate.house.settings)
    yield asking
    asking.close()


async def a_day_later(estate: Estate, look: DnsLook, agent: Agent | None = None) -> int:
    """Let a day pass and the job run; how many domains were lost."""
    house = estate.house
    house.clock.advance(hours=24)
    lost = await recheck(
        house.db,
        look,
        domain_policy(house.settings),
        process.lease_policy(house.settings),
        house.clock,
        asyncio.Event(),
    )
    if agent is not None:
        agent.http.headers["authorization"] = (await house.agent(agent.wallet)).http.headers["authorization"]
    return lost


async def test_a_domain_whose_ownership_record_is_gone_for_three_days_is_lost(estate: Estate, look: DnsLook) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    kept = await estate.verified(agent)
    lease = await agent.lease(domain=view["domain"], ttl_hours=720)
    other = await agent.lease(domain=kept["domain"], ttl_hours=720)
    estate.withdraw(view, "ownership")
    async with kit_mail.receiving(estate.house) as post:
        for day in range(3):
            assert await a_day_later(estate, look, agent) == 0, day
            now = await estate.look(agent, view)
            assert (now["status"], now["missing_since"] is not None) == ("verified", True)
            assert (await post.rcpt(lease["address"])).startswith("250"), "three days of grace"
        assert await a_day_later(estate, look, agent) == 1
        now = await estate.look(agent, view)
        assert (now["status"], now["reason"]) == ("pending", "ownership_lost")
        assert (await post.rcpt(lease["address"])).startswith("550")
        assert (await post.rcpt(other["address"])).startswith("250")
    ended = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    assert ended["lease_status"] == "released"
    told = "SELECT count(*) FROM facts WHERE type = 'lease.released' AND lease_id = $1"
    assert await kit_mail.value(estate.house, told, LeaseId.parse(lease["lease_id"])) == 1
    assert (await agent.ask_lease(domain=view["domain"])).status_code == 422
    rows = await kit_mail.rows(
        estate.house, "SELECT actor FROM audit_rows WHERE action = 'domain.lose' AND resource = $1", view["domain_id"]
    )
    assert [row["actor"] for row in rows] == ["job:domains"]
    estate.publish(view, "ownership")
    assert (await estate.verify(agent, view)).json()["status"] == "verified"
    assert (await estate.look(agent, view))["reason"] is None


async def test_a_record_that_comes_back_in_time_starts_the_days_anew(estate: Estate, look: DnsLook) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    for _ in range(3):
        estate.withdraw(view, "ownership")
        for _ in range(3):
            assert await a_day_later(estate, look, agent) == 0
        estate.publish(view, "ownership")
        assert await a_day_later(estate, look, agent) == 0
        assert (await estate.look(agent, view))["missing_since"] is None


async def test_many_checks_in_one_day_lose_nothing(estate: Estate, look: DnsLook) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    estate.withdraw(view, "ownership")
    for _ in range(8):
        assert (await estate.verify(agent, view)).json()["status"] == "verified"
    estate.house.clock.advance(hours=71)
    assert await a_day_later(estate, look, agent) == 1, "seen missing by eight checks, four days ago"


async def test_silence_of_the_dns_counts_for_nothing(estate: Estate, look: DnsLook) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    estate.withdraw(view, "ownership")
    assert await a_day_later(estate, look, agent) == 0
    noted = await estate.look(agent, view)
    estate.dns.broken.add(f"_leasebox.{view['domain']}")
    for _ in range(5):
        assert await a_day_later(estate, look, agent) == 0
        assert await estate.look(agent, view) == noted
    estate.dns.broken.clear()
    assert await a_day_later(estate, look, agent) == 0, "only the second check that saw it missing"


async def test_a_sold_domain_goes_to_its_next_owner_and_nobody_reads_the_others_mail(
    estate: Estate, look: DnsLook
) -> None:
    seller, buyer = await estate.house.agent(), await estate.house.agent()
    name = estate.name()
    old, new = await estate.verified(seller, name), await estate.add(buyer, name)
    lease = await seller.lease(domain=name, local_part="support", ttl_hours=720)
    estate.withdraw(old)
    estate.publish(new)
    async with kit_mail.receiving(estate.house) as post:
        refused = await estate.verify(buyer, new)
        assert (refused.status_code, refused.json()["reason"]) == (409, "domain_taken")
        for _ in range(4):
            await a_day_later(estate, look, seller)
        buyer.http.headers["authorization"] = (await estate.house.agent(buyer.wallet)).http.headers["authorization"]
        assert (await estate.verify(buyer, new)).json()["status"] == "verified"
        assert (await post.rcpt(lease["address"])).startswith("550")
        assert (await buyer.ask_lease(domain=name, local_part="support")).status_code == 409, "held for its last tenant"
        theirs = await buyer.lease(domain=name, local_part="help")
        await post.deliver(kit_mail.code_mail(7), theirs["address"])
    assert [each["otp_code"] for each in await kit_mail.messages_of(buyer)] == ["481207"]
    assert await kit_mail.messages_of(seller) == []
    assert (await seller.ask_lease(domain=name)).status_code == 422


async def test_a_lease_that_a_stranger_has_on_the_name_ends_when_it_is_verified(estate: Estate) -> None:
    """As where the name was a domain of the instance's own until the operator gave it up."""
    agent, stranger, name = await estate.house.agent(), await estate.house.agent(), estate.name()
    lease = await stranger.lease()
    await kit_mail.change(estate.house, "UPDATE mailboxes SET domain = $1 WHERE address = $2", name, lease["address"])
    await estate.verified(agent, name)
    ended = (await stranger.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    assert ended["lease_status"] == "released"


async def test_granting_races_with_losing_and_no_lease_survives(estate: Estate, look: DnsLook) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    estate.withdraw(view, "ownership")
    for _ in range(3):
        await a_day_later(estate, look, agent)
    estate.house.clock.advance(hours=24)
    agent = await estate.house.agent(agent.wallet)
    asked = [agent.ask_lease(domain=view["domain"]) for _ in range(12)]
    checks = [estate.verify(agent, view) for _ in range(2)]
    answers = await asyncio.gather(*asked[:6], checks[0], *asked[6:], checks[1])
    statuses = [each.status_code for each in answers]
    assert set(statuses) <= {200, 201, 422}
    alive = """
    SELECT count(*) FROM leases l JOIN mailboxes m ON m.id = l.mailbox_id
    WHERE m.domain = $1 AND l.state <> 'released' AND l.expires_at > $2
    """
    assert await kit_mail.value(estate.house, alive, view["domain"], estate.house.clock.now()) == 0
    assert (await estate.look(agent, view))["status"] == "pending"


async def test_deleting_races_with_granting(estate: Estate) -> None:
    agent = await estate.house.agent()
    for _ in range(5):
        view = await estate.verified(agent)
        asked = [agent.ask_lease(domain=view["domain"]) for _ in range(4)]
        deleting = agent.http.delete(f"{DOMAINS}/{view['domain_id']}")
        *granted, deleted = await asyncio.gather(*asked[:2], *asked[2:], deleting)
        made = [each for each in granted if each.status_code == 201]
        assert {each.status_code for each in granted} <= {201, 422}
        assert deleted.status_code == (409 if made else 204), (deleted.text, len(made))


async def test_a_domain_deleted_while_the_dns_is_asked_is_passed_over(estate: Estate) -> None:
    agent = await estate.house.agent()
    view, kept = await estate.verified(agent), await estate.verified(agent)

    class Slow(DnsLook):
        async def look(self, records: Sequence[DnsRecord]) -> dict[str, Finding]:
            found = await super().look(records)
            await agent.http.delete(f"{DOMAINS}/{view['domain_id']}")
            return found

    settings = estate.house.settings
    slow = Slow(lambda: DnsResolver(nameservers=(("127.0.0.1", estate.dns.port),)))
    estate.house.clock.advance(hours=24)
    agent.http.headers["authorization"] = (await estate.house.agent(agent.wallet)).http.headers["authorization"]
    now, policy, leases = estate.house.clock.now(), domain_policy(settings), process.lease_policy(settings)
    assert await recheck(estate.house.db, slow, policy, leases, estate.house.clock, asyncio.Event()) == 0
    slow.close()
    assert (await agent.http.get(f"{DOMAINS}/{view['domain_id']}")).status_code == 404
    assert (await estate.look(agent, kept))["checked_at"] >= rfc3339(now)


async def test_two_processes_make_one_pair_for_a_domain_of_our_own(estate: Estate) -> None:
    house, keys = estate.house, dkim_keys(estate.house.settings)
    names = (OWN, "second.leasebox.test")
    await asyncio.gather(*(ensure_own_keys(house.db, keys, names, house.clock) for _ in range(6)))
    for name in names:
        found = await house.db.read(lambda tx, name=name: domains.signing_keys(tx, keys, name, None))  # type: ignore[misc]
        assert [each.algorithm for each in found] == ["rsa-sha256", "ed25519-sha256"]
        assert len({each.selector.rpartition("-")[0] for each in found}) == 1, "one pair, not halves of two"
    assert await kit_mail.value(house, "SELECT count(*) FROM dkim_keys") == 4
    assert await house.db.read(lambda tx: domains.signing_keys(tx, keys, "gmail.test", None)) == ()


async def test_a_new_master_key_seals_the_keys_anew(estate: Estate) -> None:
    house = estate.house
    first, second = Secret("a" * 40), Secret("b" * 40)
    before = ring(first, None, Purpose.DKIM_KEY)
    await ensure_own_keys(house.db, before, [OWN], house.clock)

    async def known(keys: KeyRing) -> list[tuple[str, bytes]]:
        found = await house.db.read(lambda tx: domains.signing_keys(tx, keys, OWN, None))
        return [(each.selector, each.reveal()) for each in found]

    original = await known(before)
    assert len(original) == 2
    changing = ring(second, first, Purpose.DKIM_KEY)
    assert await known(changing) == original
    after = ring(second, None, Purpose.DKIM_KEY)
    assert await known(after) == [], "left out, since nobody can open them"
    assert len(await reseal(house.db, sealed_keys(after))) == 2
    assert await known(changing) == original, "what cannot be opened is left as it is"
    assert await reseal(house.db, sealed_keys(changing)) == []
    assert await known(after) == original


async def test_retired_keys_stay_published_for_seven_days_and_are_gone_then(estate: Estate) -> None:
    house, keys = estate.house, dkim_keys(estate.house.settings)
    await ensure_own_keys(house.db, keys, [OWN], house.clock)

    async def rotate(tx: Tx) -> None:
        at = house.clock.now()
        assert await domains.add_waiting_keys(tx, OWN, None, _fresh(keys), at) == 2
        assert await domains.add_waiting_keys(tx, OWN, None, _fresh(keys), at) == 0
        await domains.advance_keys(tx, OWN, None, at)

    async def published() -> list[str]:
        found = await house.db.read(lambda tx: domains.own_keys(tx, OWN, house.clock.now()))
        return [each.state for each in found]

    await house.db.transact(rotate)
    assert await published() == ["signing", "signing", "retired", "retired"]
    erased = "SELECT count(*) FROM dkim_keys WHERE state = 'retired' AND sealed IS NULL"
    assert await kit_mail.value(house, erased) == 2, "what signs no more need not be kept"
    house.clock.advance(days=6, hours=23)
    await tend_keys(house.db, keys, [OWN], house.clock)
    assert len(await published()) == 4
    house.clock.advance(hours=2)
    assert len(await published()) == 2
    await tend_keys(house.db, keys, [OWN], house.clock)
    assert await kit_mail.value(house, "SELECT count(*) FROM dkim_keys") == 2


def _fresh(keys: KeyRing) -> list[SealedKey]:
    return [seal(key, keys) for key in make_pair(OWN)]


async def test_our_own_domains_are_looked_at_once_a_day(estate: Estate, look: DnsLook) -> None:
    house = estate.house
    policy, keys = domain_policy(house.settings), dkim_keys(house.settings)
    await ensure_own_keys(house.db, keys, policy.own, house.clock)

    async def seen() -> dict[str, str]:
        found = (await house.db.read(lambda tx: domains.own_findings(tx, policy.own))).get(OWN)
        return {} if found is None else {key: each.state for key, each in found[0].items()}

    await recheck_own(house.db, look, policy, house.clock)
    assert set((await seen()).values()) == {"missing"}
    now = house.clock.now()
    records = await house.db.read(lambda tx: domains.public_records(tx, OWN, policy, now))
    assert {each.purpose for each in records} == {"mx", "spf", "dkim", "dmarc"}
    estate.dns.publish({f"mx {OWN}": [f"10 {policy.mx_host}."], f"txt {OWN}": [f'"{policy.spf}"']})
    await recheck_own(house.db, look, policy, house.clock)
    assert set((await seen()).values()) == {"missing"}, "not before a day has passed"
    await check_own(house.db, look, OWN, policy, house.clock)
    assert sorted((await seen()).values()) == ["found", "found", "missing", "missing", "missing"]
    estate.dns.withdraw(f"mx {OWN}")
    house.clock.advance(hours=25)
    await recheck_own(house.db, look, policy, house.clock)
    assert sorted((await seen()).values()) == ["found", "missing", "missing", "missing", "missing"]


async def test_a_dns_that_is_silent_throughout_leaves_all_as_it_was(estate: Estate) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    policy, db = domain_policy(estate.house.settings), estate.house.db
    silent = DnsLook(lambda: FakeDns({}, silent=["*"]))
    assert await a_day_later(estate, silent, agent) == 0
    await recheck_own(db, silent, policy, estate.house.clock)
    silent.close()
    assert await estate.look(agent, view) == view
    assert await db.read(lambda tx: domains.own_findings(tx, policy.own)) == {}


async def test_a_job_told_to_stop_begins_nothing_new(estate: Estate, look: DnsLook) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    estate.house.clock.advance(days=2)
    stop, settings = asyncio.Event(), estate.house.settings
    stop.set()
    policy, leases = domain_policy(settings), process.lease_policy(settings)
    await recheck(estate.house.db, look, policy, leases, estate.house.clock, stop)
    before = "SELECT checked_at FROM domains WHERE id = $1"
    checked_at = await kit_mail.value(estate.house, before, DomainId.parse(view["domain_id"]))
    assert checked_at <= estate.house.clock.now() - timedelta(days=2)
