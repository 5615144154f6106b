"""Tenants as admins list, search and steer them; what the tenant feels of it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.desk import actor, admin, administered, audited, said, tenant_of
from tests.kit import Agent, House

FELT_WITHIN = {"seconds": 1}


async def change(http: httpx.AsyncClient, tenant: str, status: str, **more: Any) -> httpx.Response:
    return await http.patch(f"/v2/admin/tenants/{tenant}", json={"status": status, **more})


async def test_a_suspended_tenant_is_refused_within_a_second(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    assert (await agent.http.get("/v2/auth/me")).status_code == 200
    told = await said(await change(owner, tenant_of(agent), "suspended", note="spam"))
    assert told["status"] == "suspended"
    run.clock.advance(**FELT_WITHIN)
    refused = await agent.http.get("/v2/auth/me")
    assert (refused.status_code, refused.json()["error"]) == (403, "tenant_inactive")
    with pytest.raises(AssertionError, match="tenant_inactive"):
        await run.agent(agent.wallet)
    assert (await other.http.get("/v2/auth/me")).status_code == 200
    await said(await change(owner, tenant_of(agent), "active"))
    run.clock.advance(**FELT_WITHIN)
    assert (await agent.http.get("/v2/auth/me")).status_code == 200


async def test_each_change_of_status_is_one_audit_row(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    tenant = tenant_of(agent)
    for status in ("suspended", "suspended", "active"):
        answer = await owner.patch(
            f"/v2/admin/tenants/{tenant}", json={"status": status, "note": "n"}, headers={"x-request-id": f"r-{status}"}
        )
        assert answer.status_code == 200
    rows = await audited(run, resource=tenant)
    assert [(each["action"], each["actor"], each["request_id"]) for each in rows] == [
        ("tenant.change_status", actor(), "r-suspended"),
        ("tenant.change_status", actor(), "r-active"),
    ]
    assert rows[0]["detail"] == {"before": "active", "after": "suspended", "note": "n", "leases_released": 0}


async def test_closing_ends_the_leases(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    mine, theirs = [await agent.lease(), await agent.lease()], await other.lease()
    await said(await change(owner, tenant_of(agent), "closed"))
    (row,) = await audited(run, resource=tenant_of(agent))
    assert row["detail"]["leases_released"] == 2
    for lease in mine:
        assert (await said(await owner.get(f"/v2/admin/leases/{lease['lease_id']}")))["lease_status"] == "released"
    assert (await said(await owner.get(f"/v2/admin/leases/{theirs['lease_id']}")))["lease_status"] == "active"


async def test_of_many_admins_at_once_each_change_is_written_down_with_what_it_changed(run: House) -> None:
    agent = await run.agent()
    tenant = tenant_of(agent)
    one, other = await admin(run, "owner"), await admin(run, "operator")
    orders = [(one if n % 2 else other, ("suspended", "active", "closed")[n % 3]) for n in range(30)]
    answers = await asyncio.gather(*(change(http, tenant, status) for http, status in orders))
    assert {each.status_code for each in answers} == {200}
    # The rows' ids tell the millisecond only, so the chain of before and after is followed instead.
    links = [(row["detail"]["before"], row["detail"]["after"]) for row in await audited(run, resource=tenant)]
    state = (await said(await one.get(f"/v2/admin/tenants/{tenant}")))["status"]
    for each in ("active", "suspended", "closed"):
        came = sum(after == each for _, after in links) + (each == "active")
        left = sum(before == each for before, _ in links)
        assert came - left == (each == state)
    assert all(before != after for before, after in links)


async def test_lists_are_newest_first_and_stable(run: House, owner: httpx.AsyncClient) -> None:
    tenants = [tenant_of(await run.agent()) for _ in range(5)]
    first = await said(await owner.get("/v2/admin/tenants", params={"limit": 2}))
    await run.agent()
    second = await said(await owner.get("/v2/admin/tenants", params={"limit": 2, "cursor": first["next_cursor"]}))
    third = await said(await owner.get("/v2/admin/tenants", params={"limit": 2, "cursor": second["next_cursor"]}))
    seen = [each["tenant_id"] for page in (first, second, third) for each in page["items"]]
    assert seen == tenants[::-1]
    assert third["next_cursor"] is None


async def test_filters(run: House, owner: httpx.AsyncClient) -> None:
    early = tenant_of(await run.agent())
    run.clock.advance(minutes=30)
    since = run.clock.now().isoformat()
    late = tenant_of(await run.agent())
    await said(await change(owner, late, "suspended"))

    async def found(**params: str) -> list[str]:
        return [
            each["tenant_id"] for each in (await said(await owner.get("/v2/admin/tenants", params=params)))["items"]
        ]

    assert await found(status="suspended") == [late]
    assert await found(status="active") == [early]
    assert await found(since=since) == [late]
    assert await found(until=since) == [early]
    assert await found(status="closed") == []


async def test_search_finds_by_whatever_belongs_to_a_tenant(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await run.agent()
    lease = await agent.lease(local_part="findme")
    key = await said(await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"]}), 201)
    texts = [
        tenant_of(agent),
        agent.agent_id,
        key["api_key_id"],
        lease["mailbox_id"],
        lease["lease_id"],
        agent.wallet.address,
        agent.wallet.address.lower(),
        lease["address"],
        "FindMe+tag@inbox.leasebox.test",
    ]
    for text in texts:
        items = (await said(await owner.get("/v2/admin/tenants", params={"q": text})))["items"]
        assert [each["tenant_id"] for each in items] == [tenant_of(agent)], text
        assert items[0]["wallets"] == [agent.wallet.address]


@pytest.mark.parametrize("text", ["0x" + "12" * 20, "nobody@inbox.leasebox.test", "ten_" + "0" * 26])
async def test_what_belongs_to_nobody_finds_nobody(run: House, owner: httpx.AsyncClient, text: str) -> None:
    await run.agent()
    assert (await said(await owner.get("/v2/admin/tenants", params={"q": text})))["items"] == []


@pytest.mark.parametrize(
    "text", ["", "x", "0x12", "ten_", "a b@", "msg_" + "0" * 26, "%", "' OR 1=1 --", "\x00", "a\x00@b.example"]
)
async def test_what_cannot_be_searched_is_a_400(run: House, owner: httpx.AsyncClient, text: str) -> None:
    answer = await owner.get("/v2/admin/tenants", params={"q": text})
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


async def test_one_tenant_with_its_counts(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    lease = await agent.lease()
    await agent.lease()
    await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")
    told = await said(await owner.get(f"/v2/admin/tenants/{tenant_of(agent)}"))
    assert told["counts"] == {
        "agents": 1,
        "api_keys": 0,
        "leases": 2,
        "live_leases": 1,
        "messages": 0,
        "stored_bytes": 0,
    }
    assert told["last_sign_in_at"] is not None


@pytest.mark.parametrize("tenant", ["ten_" + "0" * 26, "nothing", "lse_" + "0" * 26])
async def test_an_unknown_tenant_is_a_404(run: House, owner: httpx.AsyncClient, tenant: str) -> None:
    assert (await owner.get(f"/v2/admin/tenants/{tenant}")).status_code == 404
    assert (await change(owner, tenant, "suspended")).status_code == 404
    assert await audited(run) == []


async def test_a_tenants_own_rate_is_felt_within_a_second(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with administered(database_url, redis_url, tmp_path, LEASEBOX_API_RATE="1000/h") as house:
        owner, slow, free = await admin(house), await house.agent(), await house.agent()
        assert await statuses(slow, 3) == [200] * 3
        path = f"/v2/admin/tenants/{tenant_of(slow)}/api-rate"
        told = await said(await owner.put(path, json={"api_rate": {"count": 5, "seconds": 3600}}))
        assert told["api_rate"] == {"count": 5, "seconds": 3600}
        house.clock.advance(**FELT_WITHIN)
        assert 429 in await statuses(slow, 6)
        assert await statuses(free, 6) == [200] * 6
        assert (await said(await owner.put(path, json={"api_rate": None})))["api_rate"] is None
        house.clock.advance(**FELT_WITHIN)
        assert await statuses(slow, 3) == [200] * 3
        rows = await audited(house, action="rate.set")
        five = {"count": 5, "seconds": 3600}
        assert [row["detail"] for row in rows] == [{"before": None, "after": five}, {"before": five, "after": None}]


async def statuses(agent: Agent, count: int) -> list[int]:
    return [(await agent.http.get("/v2/auth/me")).status_code for _ in range(count)]
