"""Metered use of all tenants, or of one."""

import httpx

from tests.admin.desk import said, tenant_of
from tests.kit import House

EVENTS, SUMMARY = "/v2/admin/usage/events", "/v2/admin/usage/summary"


async def test_events_of_all_tenants_or_one(run: House, owner: httpx.AsyncClient) -> None:
    one, other = await run.agent(), await run.agent()
    for agent in (one, other, one):
        await agent.lease()
    await one.http.get("/v2/messages")
    items = (await said(await owner.get(EVENTS)))["items"]
    assert [each["tenant_id"] for each in items] == [tenant_of(each) for each in (one, one, other, one)]
    assert (items[0]["meter"], items[0]["amount_usdc"]) == ("message.read", "0.000000")
    mine = (await said(await owner.get(EVENTS, params={"tenant_id": tenant_of(other)})))["items"]
    assert [each["tenant_id"] for each in mine] == [tenant_of(other)]
    reads = (await said(await owner.get(EVENTS, params={"meter": "message.read"})))["items"]
    assert len(reads) == 1


async def test_events_have_pages(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    for _ in range(4):
        await agent.lease()
    first = await said(await owner.get(EVENTS, params={"limit": 3}))
    await agent.lease()
    second = await said(await owner.get(EVENTS, params={"limit": 3, "cursor": first["next_cursor"]}))
    ids = [each["event_id"] for each in first["items"] + second["items"]]
    assert len(set(ids)) == 4
    assert second["next_cursor"] is None


async def test_the_summary_counts_tenants(run: House, owner: httpx.AsyncClient) -> None:
    one, other = await run.agent(), await run.agent()
    for agent in (one, other, one):
        await agent.lease()
    told = await said(await owner.get(SUMMARY))
    (line,) = told["sums"]
    assert (told["events"], line["tenants"], line["free_quantity"], line["paid_quantity"]) == (3, 2, 3, 0)
    assert told["period"] == run.clock.now().strftime("%Y-%m")
    mine = await said(await owner.get(SUMMARY, params={"tenant_id": tenant_of(one)}))
    assert (mine["events"], mine["sums"][0]["tenants"], mine["tenant_id"]) == (2, 1, tenant_of(one))
    assert (await said(await owner.get(SUMMARY, params={"period": "2001-01"})))["events"] == 0


async def test_bad_filters(run: House, owner: httpx.AsyncClient) -> None:
    assert (await owner.get(EVENTS, params={"period": "2026-13"})).status_code == 400
    assert (await owner.get(EVENTS, params={"meter": "nothing"})).status_code == 400
    assert (await owner.get(SUMMARY, params={"tenant_id": "x"})).status_code == 404
