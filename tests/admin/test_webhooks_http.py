"""Webhooks of all tenants: seen without their secrets, disabled, rotated, replayed; the dead letters."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook

from tests.admin.desk import LISTED, actor, admin, audited, said, tenant_of
from tests.fakes.receiver import Receiver
from tests.kit import Agent, House
from tests.webhooks.hooks import ScriptedPoster, Works, deliveries_of, hook, hooked, tell

ROUTES, DELIVERIES = "/v2/admin/webhooks", "/v2/admin/webhooks/deliveries"
URL = "https://user-hooks.example/path-canary?token=query-canary"
SINCE = {"from": "2026-11-01T00:00:00Z"}


@pytest.fixture
async def run(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """An instance that has admins, and whose webhooks may reach loopback addresses."""
    async with hooked(database_url, redis_url, tmp_path, LEASEBOX_ADMIN_WALLETS=LISTED) as house:
        yield house


async def act(http: httpx.AsyncClient, one: dict[str, Any], verb: str, **body: Any) -> httpx.Response:
    return await http.post(f"{ROUTES}/{one['webhook_id']}/{verb}", json={"note": "why", **body})


async def dead(run: House, agent: Agent, count: int = 1) -> dict[str, Any]:
    """A webhook with so many dead deliveries."""
    made = await hook(agent, "http://127.0.0.1:8001/x", "message.received")
    works = Works(run, ScriptedPoster(410))
    await tell(run, agent, count=count)
    await works.step()
    await agent.http.patch(f"/v2/webhooks/{made['webhook_id']}", json={"status": "enabled"})
    return made


async def test_webhooks_of_all_are_listed_without_what_may_be_secret(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    mine, theirs = await hook(agent, URL), await hook(other, URL)
    await agent.http.patch(f"/v2/webhooks/{mine['webhook_id']}", json={"status": "disabled"})
    listed = await said(await owner.get(ROUTES))
    assert [each["webhook_id"] for each in listed["items"]] == [theirs["webhook_id"], mine["webhook_id"]]
    assert "canary" not in str(listed)
    assert mine["secret"] not in str(listed)
    assert listed["items"][0]["target_origin"] == "https://user-hooks.example"
    for query, wanted in (
        ({"tenant_id": tenant_of(agent)}, mine),
        ({"status": "disabled"}, mine),
        ({"status": "enabled"}, theirs),
    ):
        items = (await said(await owner.get(ROUTES, params=query)))["items"]
        assert [each["webhook_id"] for each in items] == [wanted["webhook_id"]]
    one = await said(await owner.get(f"{ROUTES}/{mine['webhook_id']}"))
    assert (one["tenant_id"], one["disabled_reason"]) == (tenant_of(agent), "by_caller")


async def test_disabling_and_enabling_are_one_audit_row_each(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    made = await hook(agent, URL)
    for verb, status in (
        ("disable", "disabled"),
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("enable", "enabled"),
    ):
        assert (await said(await act(owner, made, verb)))["status"] == status
        shown = (await agent.http.get(f"/v2/webhooks/{made['webhook_id']}")).json()
        assert shown["disabled_reason"] == ("by_operator" if status == "disabled" else None)
    rows = await audited(run, resource=made["webhook_id"])
    assert [(row["action"], row["actor"], row["detail"]["note"]) for row in rows] == [
        ("webhook.disable", actor(), "why"),
        ("webhook.enable", actor(), "why"),
    ]
    assert {str(row["tenant_id"]) for row in rows} != {"None"}


async def test_a_secret_is_rotated_for_a_tenant(run: House, owner: httpx.AsyncClient) -> None:
    agent, works = await run.agent(), Works(run)
    async with Receiver().listening() as receiver:
        made = await hook(agent, receiver.url)
        key = {"idempotency-key": "once"}
        path = f"{ROUTES}/{made['webhook_id']}/rotate-secret"
        first, second = [await owner.post(path, json={}, headers=key) for _ in range(2)]
        assert first.json() == second.json()
        await tell(run, agent)
        await works.step()
        for secret in (made["secret"], first.json()["secret"]):
            StandardWebhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
        works.fetcher.close()
    assert [row["action"] for row in await audited(run, resource=made["webhook_id"])] == ["webhook.rotate"]
    assert first.json()["secret"] not in str(await audited(run))


async def test_dead_letters_are_listed_and_sent_again(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    made = await dead(run, agent, count=3)
    items = (await said(await owner.get(DELIVERIES, params={"state": "dead"})))["items"]
    assert len(items) == 3
    assert {each["tenant_id"] for each in items} == {tenant_of(agent)}
    for query in ({"tenant_id": tenant_of(agent)}, {"webhook_id": made["webhook_id"]}):
        assert len((await said(await owner.get(DELIVERIES, params={"state": "dead", **query})))["items"]) == 3
    one = await said(await owner.get(f"{DELIVERIES}/{items[0]['delivery_id']}"))
    assert [each["status_code"] for each in one["attempts"]] == [410]
    path = f"{DELIVERIES}/{items[0]['delivery_id']}/redeliver"
    for _ in range(2):
        assert (await said(await owner.post(path, json={"note": "why"}), 202))["state"] == "pending"
    assert (await said(await act(owner, made, "retry-dead"), 202))["retried"] == 2
    assert (await said(await act(owner, made, "retry-dead"), 202))["retried"] == 0
    assert await Works(run, ScriptedPoster(200)).step() == 3
    rows = await audited(run)
    assert [row["action"] for row in rows] == ["webhook.redeliver", "webhook.retry_dead", "webhook.retry_dead"]
    assert [row["detail"].get("retried") for row in rows] == [None, 2, 0]


async def test_a_repeated_call_sends_nothing_twice(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    made = await dead(run, agent, count=2)
    one = (await said(await owner.get(DELIVERIES, params={"state": "dead"})))["items"][0]
    for path in (f"{DELIVERIES}/{one['delivery_id']}/redeliver", f"{ROUTES}/{made['webhook_id']}/retry-dead"):
        answers = [await owner.post(path, json={}, headers={"idempotency-key": path[-9:]}) for _ in range(2)]
        assert [each.status_code for each in answers] == [202, 202]
        assert answers[0].json() == answers[1].json()
        assert "idempotent-replayed" in answers[1].headers
    assert await Works(run, ScriptedPoster(200)).step() == 2
    assert [row["action"] for row in await audited(run)] == ["webhook.redeliver", "webhook.retry_dead"]


async def test_a_span_is_replayed_for_a_tenant(run: House, owner: httpx.AsyncClient) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    made = await hook(agent, "http://127.0.0.1:8001/x", "message.received")
    await tell(run, agent, count=4)
    await works.step()
    key = {"idempotency-key": "once"}
    path = f"{ROUTES}/{made['webhook_id']}/replay"
    answers = [await owner.post(path, json={**SINCE, "note": "why"}, headers=key) for _ in range(2)]
    assert {(each.status_code, each.json()["replayed"]) for each in answers} == {(202, 4)}
    assert await works.step() == 4
    (row,) = await audited(run, action="webhook.replay")
    assert row["detail"]["replayed"] == 4


@pytest.mark.parametrize(
    ("verb", "body", "status", "error"),
    [
        ("replay", {}, 400, "bad_request"),
        ("replay", {"from": "2026-11-20T10:00:00Z", "to": "2026-11-19T10:00:00Z"}, 400, "bad_request"),
        ("replay", {"from": "2020-01-01T00:00:00Z"}, 422, "unprocessable"),
        ("disable", {"reason": "x"}, 400, "bad_request"),
    ],
)
async def test_what_is_refused(
    run: House, owner: httpx.AsyncClient, verb: str, body: dict[str, Any], status: int, error: str
) -> None:
    answer = await act(owner, await hook(await run.agent(), URL), verb, **body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert await audited(run) == []


async def test_nothing_is_sent_to_a_disabled_webhook(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    made = await dead(run, agent)
    (found,) = await deliveries_of(agent, state="dead")
    await said(await act(owner, made, "disable"))
    answers = [
        await act(owner, made, "retry-dead"),
        await act(owner, made, "replay", **SINCE),
        await owner.post(f"{DELIVERIES}/{found['delivery_id']}/redeliver", json={}),
    ]
    assert {(each.status_code, each.json()["reason"]) for each in answers} == {(409, "disabled_by_operator")}


async def test_unknown_ones_are_a_404(run: House, owner: httpx.AsyncClient) -> None:
    for webhook_id in ("whk_" + "0" * 26, "nothing"):
        one = {"webhook_id": webhook_id}
        assert (await owner.get(f"{ROUTES}/{webhook_id}")).status_code == 404
        for verb in ("disable", "enable", "rotate-secret", "retry-dead"):
            assert (await act(owner, one, verb)).status_code == 404
        assert (await act(owner, one, "replay", **SINCE)).status_code == 404
    for delivery_id in ("dlv_" + "0" * 26, "nothing"):
        assert (await owner.get(f"{DELIVERIES}/{delivery_id}")).status_code == 404
        assert (await owner.post(f"{DELIVERIES}/{delivery_id}/redeliver", json={})).status_code == 404
    assert await audited(run) == []


async def test_who_may_only_look_may_only_look(run: House) -> None:
    agent = await run.agent()
    made = await dead(run, agent)
    (found,) = await deliveries_of(agent, state="dead")
    for role in ("viewer", "auditor"):
        http = await admin(run, role)
        assert len((await said(await http.get(ROUTES)))["items"]) == 1
        await said(await http.get(f"{DELIVERIES}/{found['delivery_id']}"))
        for verb in ("disable", "enable", "rotate-secret", "retry-dead"):
            assert (await act(http, made, verb)).status_code == 403
        assert (await act(http, made, "replay", **SINCE)).status_code == 403
        assert (await http.post(f"{DELIVERIES}/{found['delivery_id']}/redeliver", json={})).status_code == 403
    await said(await act(await admin(run, "operator"), made, "disable"))


async def alerts_of(owner: httpx.AsyncClient) -> dict[str, int]:
    told = await said(await owner.get("/v2/admin/health"))
    return {each["alert"]: each["count"] for each in told["alerts"]}


async def figures_of(run: House, owner: httpx.AsyncClient) -> list[int]:
    found = []
    for figure in ("deliveries", "dead_deliveries"):
        until = (run.clock.now() + timedelta(minutes=1)).isoformat()
        told = await said(await owner.get("/v2/admin/series", params={"figure": figure, "until": until}))
        found.append(sum(each["value"] for each in told["points"]))
    told = await said(await owner.get("/v2/admin/overview"))
    assert [told["deliveries_24h"], told["dead_deliveries_24h"]] == found
    return found


async def test_overview_and_series_count_deliveries_and_dead_ones(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    assert await figures_of(run, owner) == [0, 0]
    await dead(run, agent, count=3)
    await tell(run, agent, count=2)
    await Works(run, ScriptedPoster(200)).step()
    assert await figures_of(run, owner) == [5, 3]
    assert (await said(await owner.get("/v2/admin/overview")))["webhooks_enabled"] == 1


async def test_alerts_stand_while_what_they_tell_of_lasts(run: House, owner: httpx.AsyncClient) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    await dead(run, agent, count=3)
    assert await alerts_of(owner) == {"deliveries_dead": 3}
    gone = await hook(agent, URL, "message.received")
    await tell(run, agent)
    await Works(run, ScriptedPoster(410)).step()
    await works.publish()
    assert await alerts_of(owner) == {"deliveries_dead": 5, "webhooks_disabled": 2}
    run.clock.advance(hours=25)
    owner = await admin(run)
    assert await alerts_of(owner) == {}
    agent = await run.agent()
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent, count=2)
    assert await alerts_of(owner) == {}
    run.clock.advance(seconds=20)
    assert await alerts_of(owner) == {"fan_out_late": 2}
    await works.publish()
    assert await alerts_of(owner) == {}
    run.clock.advance(seconds=65)
    assert await alerts_of(owner) == {"deliveries_late": 2}
    while await works.step():
        pass
    assert await alerts_of(owner) == {}
    assert (await said(await owner.get(f"{ROUTES}/{gone['webhook_id']}")))["disabled_reason"] == "gone"
