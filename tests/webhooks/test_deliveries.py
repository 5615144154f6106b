"""From numbered facts to deliveries: exactly one a fact and endpoint, in whatever order things happen."""

import asyncio
from typing import Any

import pytest

from leasebox.infra import facts_order
from leasebox.infra.db import Tx
from leasebox.webhooks import deliveries, store
from tests import kit_mail
from tests.kit import House
from tests.webhooks.hooks import ScriptedPoster, Works, deliveries_of, hook, tell


async def test_many_who_fan_out_at_once_make_each_delivery_once(run: House) -> None:
    agent = await run.agent()
    for _ in range(3):
        await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent, count=50)
    works = [Works(run, ScriptedPoster(200)) for _ in range(8)]
    passed = await asyncio.gather(*(each.publish() for each in works), *(each.publish() for each in works))
    assert sum(passed) == 50
    found = await kit_mail.value(run, "SELECT count(*) FROM webhook_deliveries")
    assert found == 150
    distinct = "SELECT count(DISTINCT (webhook_id, event_id)) FROM webhook_deliveries"
    assert await kit_mail.value(run, distinct) == 150


async def test_facts_and_deliveries_commit_together_or_not_at_all(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)

    async def dies(tx: Tx) -> None:
        await facts_order.number(tx)
        assert await deliveries.fan_out(tx, run.clock.now()) == 1
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await run.db.transact(dies)
    assert await deliveries_of(agent) == []
    assert await works.publish() == 1
    assert len(await deliveries_of(agent)) == 1


async def test_a_fan_out_that_was_away_catches_up_batch_by_batch(run: House, monkeypatch: Any) -> None:
    monkeypatch.setattr(deliveries, "BATCH", 10)
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent, count=25)
    await run.db.transact(facts_order.number)
    assert [await works.publish() for _ in range(4)] == [10, 10, 5, 0]
    assert await works.step() == 25


async def test_an_endpoint_that_is_made_while_facts_wait_hears_of_them_at_most_once(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    await asyncio.gather(*(tell(run, agent) for _ in range(10)), hook(agent, "http://127.0.0.1:8001/x"))
    await tell(run, agent)
    await works.step()
    found = [each["event_id"] for each in await deliveries_of(agent)]
    assert 1 <= len(found) == len(set(found)) <= 11


async def test_delivering_publishing_and_sending_again_at_once_deadlock_nobody(run: House) -> None:
    agent = await run.agent()
    hooks = [await hook(agent, f"http://127.0.0.1:{8001 + number}/x") for number in range(5)]
    works = [Works(run, ScriptedPoster(200)) for _ in range(3)]

    async def publishing() -> None:
        for _ in range(20):
            await tell(run, agent, count=2)
            await works[0].publish()

    async def again() -> None:
        for number in range(20):
            path = f"/v2/webhooks/{hooks[number % 5]['webhook_id']}/replay"
            answer = await agent.http.post(path, json={"from": "2026-11-01T00:00:00Z"})
            assert answer.status_code == 202

    async def delivering(one: Works) -> None:
        for _ in range(20):
            await one.runner.deliver_due()
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(publishing(), again(), *(delivering(each) for each in works))
    while await works[0].step():
        pass
    states = await kit_mail.rows(run, "SELECT state, count(*) AS n FROM webhook_deliveries GROUP BY state")
    assert {row["state"]: row["n"] for row in states} == {"succeeded": 200}


async def test_dead_ones_are_started_anew_oldest_first(run: House, monkeypatch: Any) -> None:
    monkeypatch.setattr(deliveries, "MOST_REPLAYED", 2)
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    made = await hook(agent, "http://127.0.0.1:8001/x")
    path = f"/v2/webhooks/{made['webhook_id']}"
    await tell(run, agent, count=3)
    await works.publish()
    await agent.http.patch(path, json={"status": "disabled"})
    await agent.http.patch(path, json={"status": "enabled"})
    before = [each["delivery_id"] for each in await deliveries_of(agent, state="dead")]

    async def retry(tx: Tx) -> int:
        webhook = (await store.listed_any(tx, None, None, None, None, 1))[0]
        return await deliveries.retry_dead(tx, webhook, run.clock.now())

    assert await run.db.transact(retry) == 2
    assert [each["delivery_id"] for each in await deliveries_of(agent, state="dead")] == before[:1]
    assert await works.step() == 2


async def test_a_fact_of_before_an_endpoint_was_disabled_is_visibly_dead(run: House) -> None:
    """The worker was away: the fact was committed, then the endpoint disabled, and only then comes the fan-out."""
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    made = await hook(agent, "http://127.0.0.1:8001/x", "message.received")
    other = await hook(agent, "http://127.0.0.1:8002/x", "otp.extracted")
    path = f"/v2/webhooks/{made['webhook_id']}"
    await tell(run, agent, count=2)
    run.clock.advance(seconds=1)
    for each in (made, other):
        await agent.http.patch(f"/v2/webhooks/{each['webhook_id']}", json={"status": "disabled"})
    run.clock.advance(seconds=1)
    await tell(run, agent)
    assert await works.publish() == 3
    found = await deliveries_of(agent)
    assert [(each["webhook_id"], each["state"], each["attempt_count"]) for each in found] == [
        (made["webhook_id"], "dead", 0)
    ] * 2
    assert all(each["finished_at"] for each in found)
    assert await works.runner.deliver_due() == 0
    await agent.http.patch(path, json={"status": "enabled"})
    for each in found:
        assert (await agent.http.post(f"/v2/webhooks/deliveries/{each['delivery_id']}/redeliver")).status_code == 202
    assert await works.step() == 2
    assert {each["state"] for each in await deliveries_of(agent)} == {"succeeded"}
