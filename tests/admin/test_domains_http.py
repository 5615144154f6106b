"""Admins and domains: everybody's, the instance's own, what is taken away, and keys that are changed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.leases import domains
from leasebox.values.ids import TenantId
from leasebox.wiring.domains import dkim_keys
from tests import kit_mail
from tests.admin.desk import LISTED, actor, admin, audited, said, tenant_of
from tests.kit import Agent
from tests.leases.estate import DOMAINS, MX_HOST, Estate, settled, states, zone_of

ADMIN, OWN = "/v2/admin/domains", "/v2/admin/own-domains"
MAIN = "inbox.leasebox.test"


@pytest.fixture
async def estate(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Estate]:
    domains_of_ours = f"{MAIN},second.leasebox.test"
    more = {"LEASEBOX_ADMIN_WALLETS": LISTED, "LEASEBOX_MAIL_DOMAIN": domains_of_ours}
    async with settled(database_url, redis_url, tmp_path, **more) as one:
        yield one


@pytest.fixture
async def desk(estate: Estate) -> httpx.AsyncClient:
    """An operator, who may do all of this."""
    return await admin(estate.house, "operator")


async def signing(estate: Estate, name: str, agent: Agent | None = None) -> list[str]:
    """The selectors that mail is signed under now, the agent's or the instance's."""
    tenant_id = None if agent is None else TenantId.parse(tenant_of(agent))
    keys = dkim_keys(estate.house.settings)
    found = await estate.house.db.read(lambda tx: domains.signing_keys(tx, keys, name, tenant_id))
    return [each.selector for each in found]


async def test_the_domains_of_all_tenants(estate: Estate, desk: httpx.AsyncClient) -> None:
    first, second = await estate.house.agent(), await estate.house.agent()
    one, other = await estate.verified(first), await estate.add(second)
    listed = (await said(await desk.get(ADMIN)))["items"]
    assert [(each["domain_id"], each["tenant_id"]) for each in listed] == [
        (other["domain_id"], tenant_of(second)),
        (one["domain_id"], tenant_of(first)),
    ]
    assert listed[1]["records"] == one["records"]
    for query, wanted in (
        ({"tenant_id": tenant_of(first)}, [one]),
        ({"domain": other["domain"].upper()}, [other]),
        ({"status": "pending"}, [other]),
        ({"status": "verified"}, [one]),
        ({"domain": "nobodys.test"}, []),
    ):
        found = (await said(await desk.get(ADMIN, params=query)))["items"]
        assert [each["domain_id"] for each in found] == [each["domain_id"] for each in wanted], query
    page = await said(await desk.get(ADMIN, params={"limit": 1}))
    rest = await said(await desk.get(ADMIN, params={"limit": 1, "cursor": page["next_cursor"]}))
    assert [each["domain_id"] for each in page["items"] + rest["items"]] == [other["domain_id"], one["domain_id"]]
    assert (await said(await desk.get(f"{ADMIN}/{one['domain_id']}")))["domain"] == one["domain"]


async def test_who_may_do_what(estate: Estate) -> None:
    view = await estate.verified(await estate.house.agent())
    path = f"{ADMIN}/{view['domain_id']}"
    for role, steers in (("viewer", 403), ("auditor", 403), ("operator", 200), ("owner", 200)):
        http = await admin(estate.house, role)
        assert {(await http.get(each)).status_code for each in (ADMIN, path, OWN)} == {200}
        assert (await http.post(f"{path}/check")).status_code == steers
        assert (await http.post(f"{OWN}/{MAIN}/check")).status_code == steers
        assert (await http.post(f"{ADMIN}/{MAIN}/dkim/rotate", json={})).status_code == steers
        assert (await http.post(f"{path}/unverify", json={})).status_code == steers
    http = await admin(estate.house, "owner")
    for method, where in (("GET", "dom_x"), ("POST", "dom_x/check"), ("POST", "other.test/dkim/rotate")):
        answer = await http.request(method, f"{ADMIN}/{where}", json={} if "rotate" in where else None)
        assert answer.status_code == 404, where
    assert (await http.post(f"{OWN}/other.test/check")).status_code == 404


async def test_an_operator_takes_a_domain_away(estate: Estate, desk: httpx.AsyncClient) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    lease = await agent.lease(domain=view["domain"])
    path = f"{ADMIN}/{view['domain_id']}"
    for _ in range(2):
        told = await said(await desk.post(f"{path}/unverify", json={"note": "phishing"}))
        assert (told["status"], told["reason"]) == ("pending", "by_operator")
    async with kit_mail.receiving(estate.house) as post:
        assert (await post.rcpt(lease["address"])).startswith("550")
    for refused in (
        await estate.verify(agent, view),
        await agent.http.delete(f"{DOMAINS}/{view['domain_id']}"),
    ):
        assert (refused.status_code, refused.json()["reason"]) == (403, "domain_blocked")
    assert (await agent.http.post(DOMAINS, json={"domain": view["domain"]})).status_code == 409
    assert (await agent.ask_lease(domain=view["domain"])).status_code == 422
    rows = await audited(estate.house, resource=view["domain_id"])
    assert [(row["action"], row["actor"], row["detail"]) for row in rows] == [
        ("domain.unverify", actor("operator"), {"note": "phishing"})
    ]
    assert (await said(await desk.post(f"{path}/check")))["status"] == "verified"
    assert (await audited(estate.house, action="domain.verify"))[0]["actor"] == actor("operator")
    await agent.lease(domain=view["domain"])


async def test_taking_away_races_with_verifying_and_has_the_last_word(estate: Estate, desk: httpx.AsyncClient) -> None:
    agent = await estate.house.agent()
    for _ in range(4):
        view = await estate.add(agent)
        estate.publish(view)
        verifying = [estate.verify(agent, view) for _ in range(3)]
        taking = desk.post(f"{ADMIN}/{view['domain_id']}/unverify", json={})
        await asyncio.gather(*verifying, taking)
        now = await estate.look(agent, view)
        assert (now["status"], now["reason"]) == ("pending", "by_operator")


async def test_our_own_domains_name_their_records(estate: Estate, desk: httpx.AsyncClient) -> None:
    listed = (await said(await desk.get(OWN)))["items"]
    assert [each["domain"] for each in listed] == [MAIN, "second.leasebox.test"]
    assert states(listed[0]) == dict.fromkeys(("mx", "spf", "dkim", "dmarc"), "unknown")
    assert next(each["value"] for each in listed[0]["records"] if each["purpose"] == "mx") == MX_HOST
    assert (await said(await desk.get(OWN)))["items"] == listed, "keys are made once"
    estate.publish(listed[0])
    checked = await said(await desk.post(f"{OWN}/{MAIN}/check"))
    assert states(checked) == dict.fromkeys(("mx", "spf", "dkim", "dmarc"), "found")
    assert checked["checked_at"] is not None
    again = (await said(await desk.get(OWN)))["items"]
    assert again == [checked, listed[1]]


async def test_new_keys_sign_once_their_records_are_found(estate: Estate, desk: httpx.AsyncClient) -> None:
    own = (await said(await desk.get(OWN)))["items"][0]
    estate.publish(own)
    before = await signing(estate, MAIN)
    told = await said(await desk.post(f"{ADMIN}/{MAIN}/dkim/rotate", json={"note": "yearly"}))
    assert told["signing"] == before
    assert len(told["waiting"]) == 2
    assert set(told["waiting"]).isdisjoint(before)
    again = await said(await desk.post(f"{ADMIN}/{MAIN}/dkim/rotate", json={}))
    assert again == told, "those that wait are not replaced"
    await said(await desk.post(f"{OWN}/{MAIN}/check"))
    assert await signing(estate, MAIN) == before
    estate.dns.publish({key: text for key, text in zone_of(told).items() if "-rsa." in key})
    await said(await desk.post(f"{OWN}/{MAIN}/check"))
    assert await signing(estate, MAIN) == before, "half a pair is not enough"
    estate.publish(told)
    checked = await said(await desk.post(f"{OWN}/{MAIN}/check"))
    assert await signing(estate, MAIN) == told["waiting"]
    stays = {each["name"].partition(".")[0] for each in checked["records"] if each["keep_until"]}
    assert stays == set(before)
    (row,) = await audited(estate.house, action="dkim.rotate")
    assert (row["resource"], row["detail"]) == (MAIN, {"sign": "published", "note": "yearly"})


async def test_after_a_leak_new_keys_sign_at_once(estate: Estate, desk: httpx.AsyncClient) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    before = await signing(estate, view["domain"], agent)
    path = f"{ADMIN}/{view['domain_id']}/dkim/rotate"
    answers = [
        await said(each) for each in await asyncio.gather(*(desk.post(path, json={"sign": "now"}) for _ in range(3)))
    ]
    after = await signing(estate, view["domain"], agent)
    assert len(after) == 2
    assert set(after).isdisjoint(before)
    assert any(each["signing"] == after and each["waiting"] == [] for each in answers)
    now: dict[str, Any] = await estate.look(agent, view)
    retired = [each for each in now["records"] if each["keep_until"]]
    assert set(before) <= {each["name"].partition(".")[0] for each in retired}
    zone = (await agent.http.get(f"{DOMAINS}/{view['domain_id']}/zone-file")).text
    assert all(selector in zone for selector in after)
    assert not any(selector in zone for selector in before)


async def test_a_leak_told_twice_under_one_key_is_one_rotation(estate: Estate, desk: httpx.AsyncClient) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    path, keyed = f"{ADMIN}/{view['domain_id']}/dkim/rotate", {"idempotency-key": "leak-1"}
    first = await said(await desk.post(path, json={"sign": "now"}, headers=keyed))
    told = await signing(estate, view["domain"], agent)
    again = await desk.post(path, json={"sign": "now"}, headers=keyed)
    assert (await said(again), again.headers["idempotent-replayed"]) == (first, "true")
    assert await signing(estate, view["domain"], agent) == told


async def test_a_tenants_new_keys_are_found_by_its_own_verify(estate: Estate, desk: httpx.AsyncClient) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    told = await said(await desk.post(f"{ADMIN}/{view['domain_id']}/dkim/rotate", json={}))
    now = await estate.look(agent, view)
    assert states(now)["dkim"] == "found/unknown"
    await estate.verify(agent, view)
    assert await signing(estate, view["domain"], agent) != told["waiting"]
    estate.publish(now)
    assert states((await estate.verify(agent, view)).json())["dkim"] == "found"
    assert await signing(estate, view["domain"], agent) == told["waiting"]
