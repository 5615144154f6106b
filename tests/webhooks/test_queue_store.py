"""The queue: lanes are served apart from each other, by width, and what a claim leaves behind is found again."""

from datetime import timedelta
from typing import Any

from leasebox.values.ids import WebhookId
from leasebox.webhooks import queue_store
from leasebox.webhooks.model import CLAIM, WIDTH_FAILING, WIDTH_NEW, WIDTH_PROVEN, Lane
from tests import kit_mail
from tests.kit import House
from tests.webhooks.hooks import ScriptedPoster, Works, hook, tell


async def claim(house: House, places: int = 100, lanes: int = 64, **under_way: int) -> list[Any]:
    busy = {WebhookId.parse(name): count for name, count in under_way.items()}
    return await house.db.read(lambda tx: queue_store.claim(tx, busy, house.clock.now(), places, lanes))


async def due_at(house: House, webhook_id: str) -> Any:
    found = "SELECT due_at FROM webhook_lanes WHERE webhook_id = $1"
    return await kit_mail.value(house, found, WebhookId.parse(webhook_id))


async def set_lane(house: House, webhook_id: str, **fields: Any) -> None:
    for name, text in fields.items():
        sql = f"UPDATE webhook_lanes SET {name} = $2 WHERE webhook_id = $1"
        await kit_mail.change(house, sql, WebhookId.parse(webhook_id), text)


async def test_a_lane_is_as_wide_as_it_has_shown_to_work(run: House) -> None:
    agent, works = await run.agent(), Works(run)
    made = (await hook(agent, "http://127.0.0.1:8001/x"))["webhook_id"]
    await tell(run, agent, count=60)
    await works.publish()
    assert len(await claim(run)) == WIDTH_NEW
    await set_lane(run, made, succeeded_at=run.clock.now())
    assert len(await claim(run, **{made: WIDTH_NEW})) == WIDTH_PROVEN - WIDTH_NEW
    assert len(await claim(run, **{made: WIDTH_PROVEN})) == 0
    await set_lane(run, made, failures=1)
    assert len(await claim(run, **{made: WIDTH_FAILING})) == 0
    assert len(await claim(run)) == WIDTH_FAILING


async def test_a_resting_lane_is_left_alone_until_then(run: House) -> None:
    agent, works = await run.agent(), Works(run)
    made = (await hook(agent, "http://127.0.0.1:8001/x"))["webhook_id"]
    rest = run.clock.now() + timedelta(seconds=40)
    await set_lane(run, made, resting_until=rest, failures=3)
    await tell(run, agent)
    await works.publish()
    assert await due_at(run, made) == rest
    assert await claim(run) == []
    run.clock.advance(seconds=41)
    assert len(await claim(run)) == 1


async def test_one_full_lane_leaves_the_places_of_others_to_them(run: House) -> None:
    agent, works = await run.agent(), Works(run)
    for number in range(6):
        await hook(agent, f"http://127.0.0.1:{8001 + number}/x")
    await tell(run, agent, count=30)
    await works.publish()
    claimed = await claim(run)
    counts = [sum(one.webhook_id == each for one in claimed) for each in {one.webhook_id for one in claimed}]
    assert counts == [WIDTH_NEW] * 6
    assert await claim(run, places=3, lanes=64) != []


async def test_no_more_is_taken_than_there_are_places_and_lanes(run: House) -> None:
    agent, works = await run.agent(), Works(run)
    for number in range(6):
        await hook(agent, f"http://127.0.0.1:{8001 + number}/x")
    await tell(run, agent, count=5)
    await works.publish()
    assert len(await claim(run, places=7)) == 7
    assert len({one.webhook_id for one in await claim(run, lanes=2)}) == 2


async def test_after_a_claim_the_lane_is_due_when_the_next_thing_is(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(500))
    made = (await hook(agent, "http://127.0.0.1:8001/x"))["webhook_id"]
    assert await due_at(run, made) is None
    await tell(run, agent, count=WIDTH_NEW + 1)
    await works.publish()
    before = run.clock.now()
    assert len(await claim(run)) == WIDTH_NEW
    assert await due_at(run, made) < before, "one is left"
    assert len(await claim(run)) == 1
    found = await due_at(run, made)
    assert timedelta(0) <= found - before - CLAIM < timedelta(seconds=5), "the first claim runs out"
    run.clock.advance(seconds=CLAIM.total_seconds() + 5)
    again = await claim(run)
    assert len(again) == WIDTH_NEW
    assert {one.attempt for one in again} == {2}
    assert await kit_mail.value(run, "SELECT count(*) FROM webhook_attempts WHERE error = 'unknown'") == WIDTH_NEW


async def test_what_is_claimed_tells_of_the_fact_and_the_endpoint(run: House) -> None:
    agent, works = await run.agent(), Works(run)
    box = (await agent.lease())["mailbox_id"]
    made = await hook(agent, "http://127.0.0.1:8001/x", "message.received")
    await tell(run, agent, mailbox=box, message_id="msg_1")
    await works.publish()
    (one,) = await claim(run)
    assert (str(one.webhook_id), one.target_url) == (made["webhook_id"], "http://127.0.0.1:8001/x")
    assert (str(one.mailbox_id), one.lease_id, one.event_type) == (box, None, "message.received")
    assert (one.payload["message_id"], one.attempt, one.step) == ("msg_1", 1, 0)
    assert [stored.number for stored in one.secrets] == [1]


async def test_lanes_are_locked_with_how_they_stand(run: House) -> None:
    agent = await run.agent()
    first, second = [WebhookId.parse((await hook(agent, "http://127.0.0.1:8001/x"))["webhook_id"]) for _ in range(2)]
    await agent.http.patch(f"/v2/webhooks/{second}", json={"status": "disabled"})
    gone = WebhookId.new(run.clock.now())
    lanes, disabled = await run.db.transact(lambda tx: queue_store.lock_lanes(tx, [first, second, gone]))
    assert lanes == {first: Lane(first), second: Lane(second)}
    assert disabled == {second}
