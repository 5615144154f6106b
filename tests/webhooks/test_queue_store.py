"""The queue: lanes are served apart from each other, by width, and what a claim leaves behind is found again."""

from collections import Counter
from datetime import timedelta
from typing import Any

from leasebox.infra import facts_order
from leasebox.values.ids import WebhookId
from leasebox.webhooks import queue_store
from leasebox.webhooks.model import CLAIM, WIDTH_FAILING, WIDTH_NEW, WIDTH_PROVEN, Lane
from leasebox.webhooks.places import Offer, Room
from tests import kit_mail
from tests.kit import House
from tests.webhooks.hooks import ScriptedPoster, Works, hook, tell, tenant_of


async def claim(
    house: House, places: int = 100, lanes: int = 64, slow: int = 100, each: int = 100, rooms: Any = None, **busy: int
) -> list[Any]:
    """places, slow: in all; each: of a tenant, unless rooms says otherwise."""
    counts = {WebhookId.parse(name): count for name, count in busy.items()}
    offer = Offer(Room(places, slow), Room(each, each), rooms or {}, counts)
    return await house.db.read(lambda tx: queue_store.claim(tx, offer, house.clock.now(), lanes))


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
    assert before <= await due_at(run, made) <= run.clock.now(), "one is left, at the end of the line"
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


async def lanes_of(house: House, count: int, facts: int) -> list[str]:
    """So many endpoints of one tenant, each with as many deliveries due."""
    agent, works = await house.agent(), Works(house)
    made = [(await hook(agent, f"http://127.0.0.1:{8001 + each}/x"))["webhook_id"] for each in range(count)]
    await tell(house, agent, count=facts)
    await works.publish()
    return made


async def test_who_has_many_full_lanes_leaves_the_next_claim_to_whoever_has_one(run: House) -> None:
    many = await lanes_of(run, 40, 10)
    for each in many:
        await set_lane(run, each, succeeded_at=run.clock.now())
    (late,) = await lanes_of(run, 1, 3)
    claimed = await claim(run, places=20)
    assert len(claimed) == 20
    assert sum(str(one.webhook_id) == late for one in claimed) == 3, "all that is due there"
    served = {one.webhook_id for one in claimed}
    again = {one.webhook_id for one in await claim(run, places=20)}
    assert len(again - served) == 20, "who was served stands at the end of the line"


async def test_a_tenant_is_given_no_more_than_its_room(run: House) -> None:
    agent, other = await run.agent(), await run.agent()
    for one in (agent, other):
        for number in range(5):
            await hook(one, f"http://127.0.0.1:{8001 + number}/x")
        await tell(run, one, count=4)
    await Works(run).publish()
    full = tenant_of(agent)
    claimed = await claim(run, rooms={full: Room(0, 5)}, each=7)
    assert {one.tenant_id for one in claimed} == {tenant_of(other)}
    assert len(claimed) == 7
    assert len([one for one in await claim(run, rooms={full: Room(3, 0)}, each=1) if one.tenant_id == full]) == 3


async def test_a_slow_lane_is_narrow_and_takes_no_quick_place(run: House) -> None:
    (slow,), (quick,) = await lanes_of(run, 1, 20), await lanes_of(run, 1, 20)
    for each, pace in ((slow, 4000), (quick, 900)):
        await set_lane(run, each, succeeded_at=run.clock.now(), pace_ms=pace)
    claimed = await claim(run, places=3, slow=50)
    assert Counter((str(one.webhook_id), one.is_slow) for one in claimed) == {(slow, True): 2, (quick, False): 3}
    assert {str(one.webhook_id) for one in await claim(run, slow=0, **{slow: 2})} == {quick}
    for pace, width in ((1001, 7), (2000, 4), (8000, 1), (15_000, 1)):
        await set_lane(run, slow, pace_ms=pace)
        run.clock.advance(seconds=CLAIM.total_seconds() + 1)
        assert sum(str(one.webhook_id) == slow for one in await claim(run)) == width, pace


async def test_what_sharing_left_is_said_so(run: House) -> None:
    many = await lanes_of(run, 10, 1)
    deep = many[0]
    await set_lane(run, deep, succeeded_at=run.clock.now())
    await kit_mail.change(
        run,
        """INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, state, attempts, step,
            next_at, created_at) SELECT id_at($2), tenant_id, id, id_at($2), 'webhook.test', 'pending', 0, 0, $2, $2
            FROM webhooks, generate_series(1, 12) WHERE id = $1""",
        WebhookId.parse(deep),
        run.clock.now(),
    )
    claimed = await claim(run, places=40)
    assert sum(str(one.webhook_id) == deep for one in claimed) == 4, "a tenth of the places"
    assert {str(one.webhook_id) for one in claimed if one.is_cut} == {deep}
    assert len(claimed) == 13


async def test_the_depth_counts_what_waits_where(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(500))
    made = (await hook(agent, "http://127.0.0.1:8001/x"))["webhook_id"]
    before = run.clock.now()
    await tell(run, agent, count=3)

    async def depth() -> queue_store.Depth:
        now = run.clock.now()
        return await run.db.read(lambda tx: queue_store.depth(tx, now, now - timedelta(days=1)))

    fresh = await depth()
    assert (fresh.facts, fresh.due, fresh.waiting, fresh.dead) == (3, 0, 0, 0)
    assert fresh.oldest_fact is not None
    assert fresh.oldest_fact >= before
    await run.db.transact(facts_order.number)
    assert (await depth()).facts == 3
    await works.publish()
    due = await depth()
    assert (due.facts, due.oldest_fact, due.due, due.under_way) == (0, None, 3, 0)
    assert due.oldest_due is not None
    assert due.oldest_due >= before
    assert len(await claim(run, places=1)) == 1
    assert (await depth()).under_way == 1
    await works.step()
    assert (await depth()).waiting == 2
    assert (await agent.http.patch(f"/v2/webhooks/{made}", json={"status": "disabled"})).status_code == 200
    dead = await depth()
    assert (dead.dead, dead.died, dead.waiting, dead.due, dead.disabled) == (3, 3, 0, 0, 0)
    run.clock.advance(days=2)
    later = await depth()
    assert (later.dead, later.died) == (3, 0)
