"""The runner: facts arrive signed, once each; the schedule by a clock; bad receivers cost others nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook
from svix.webhooks import Webhook as SvixWebhook

from leasebox.infra import metrics
from leasebox.infra.fetch import Fault
from leasebox.infra.reseal import reseal
from leasebox.webhooks import jobs, places
from leasebox.webhooks.deliveries import WAKE_DELIVERIES
from leasebox.webhooks.jobs import forget, measure
from leasebox.webhooks.model import CLAIM, SCHEDULE
from leasebox.webhooks.service import sealed_secrets
from leasebox.wiring.webhooks import webhook_keys
from tests import kit_mail
from tests.fakes.receiver import OK, Receiver, floods, hangs, resets, says, status, trickles
from tests.kit import SECRET, House
from tests.webhooks.hooks import (
    HOOKS,
    HeldPoster,
    ScriptedPoster,
    Works,
    deliveries_of,
    delivery,
    hook,
    hooked,
    lasting,
    tell,
)

DAY = 86_400


async def test_a_fact_arrives_signed(run: House, works: Works, receiver: Receiver) -> None:
    agent = await run.agent()
    made = await hook(agent, receiver.url, "message.received")
    await tell(run, agent, message_id="msg_1")
    assert await works.step() == 1
    (one,) = receiver.got
    SvixWebhook(made["secret"]).verify(one.body, one.headers)
    told = StandardWebhook(made["secret"]).verify(one.body, one.headers)
    assert (told["type"], told["data"]["message_id"]) == ("message.received", "msg_1")
    assert (one.method, one.path, one.headers["webhook-id"]) == ("POST", "/hook", told["event_id"])
    assert one.headers["content-type"] == "application/json"
    (found,) = await deliveries_of(agent)
    assert (found["state"], found["attempt_count"], found["last_status_code"]) == ("succeeded", 1, 200)
    (attempt,) = (await delivery(agent, found["delivery_id"]))["attempts"]
    assert (attempt["number"], attempt["status_code"], attempt["error"]) == (1, 200, None)
    assert await works.step() == 0


async def test_the_whole_schedule_by_the_clock(run: House) -> None:
    agent, poster = await lasting(run), ScriptedPoster(500)
    works = Works(run, poster)
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)
    for number, wait in enumerate(SCHEDULE):
        run.clock.advance(seconds=wait.total_seconds() - 1)
        if number:
            assert await works.step() == 0, f"try {number + 1} came early"
        run.clock.advance(seconds=1.5)
        assert await works.step() == 1, f"try {number + 1} did not come"
    run.clock.advance(days=30)
    assert await works.step() == 0
    (found,) = await deliveries_of(agent)
    assert (found["state"], found["attempt_count"], found["next_attempt_at"]) == ("dead", 10, None)
    attempts = (await delivery(agent, found["delivery_id"]))["attempts"]
    assert [each["number"] for each in attempts] == list(range(1, 11))
    assert {each["status_code"] for each in attempts} == {500}
    assert {headers["webhook-id"] for _, headers, _ in poster.sent} == {found["event_id"]}
    assert len({body for _, _, body in poster.sent}) == 1
    assert [wait.total_seconds() for wait in SCHEDULE] == [
        0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (200, "succeeded"), (201, "succeeded"), (204, "succeeded"), (299, "succeeded"),
        (301, "failed"), (302, "failed"), (304, "failed"), (307, "failed"), (400, "failed"), (401, "failed"),
        (404, "failed"), (429, "failed"), (500, "failed"), (503, "failed"), (Fault.TIMEOUT, "failed"),
        (Fault.ADDRESS, "failed"), (Fault.NAME, "failed"), (410, "dead"),
    ],
)  # fmt: skip
async def test_what_an_answer_makes_of_a_delivery(run: House, answer: Any, state: str) -> None:
    agent = await run.agent()
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)
    assert await Works(run, ScriptedPoster(answer)).step() >= 1
    found = (await deliveries_of(agent))[-1]
    assert found["state"] == state
    assert (found["last_status_code"], found["last_error"]) == (
        (answer, None) if isinstance(answer, int) and not isinstance(answer, Fault) else (None, answer.value)
    )


async def test_410_disables_at_once_and_says_so(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(410))
    gone = await hook(agent, "http://127.0.0.1:8001/x", "message.received")
    told = await hook(agent, "http://127.0.0.1:8002/x", "webhook.disabled")
    await tell(run, agent, count=3)
    assert await works.publish() == 3
    works.runner._poster = ScriptedPoster(410, 200)  # type: ignore[assignment]
    await works.runner.deliver_due()
    await works.publish()
    shown = (await agent.http.get(f"{HOOKS}/{gone['webhook_id']}")).json()
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")
    assert shown["disabled_at"] is not None
    states = [each["state"] for each in await deliveries_of(agent, webhook_id=gone["webhook_id"])]
    assert set(states) <= {"dead", "succeeded"}
    assert "dead" in states
    (alarm,) = await deliveries_of(agent, webhook_id=told["webhook_id"])
    assert alarm["event_type"] == "webhook.disabled"
    await tell(run, agent)
    await works.publish()
    assert len(await deliveries_of(agent, webhook_id=gone["webhook_id"])) == 3
    audited = await kit_mail.rows(run, "SELECT actor, detail FROM audit_rows WHERE action = 'webhook.disable'")
    assert [(row["actor"], row["detail"]["reason"]) for row in audited] == [("job:webhooks", "gone")]


async def test_five_days_of_nothing_but_failures_disable(run: House) -> None:
    agent, works = await lasting(run), Works(run, ScriptedPoster(500))
    made = await hook(agent, "http://127.0.0.1:8001/x")
    spent = 0
    while spent < 5 * DAY + 3600:
        await tell(run, agent)
        await works.step()
        run.clock.advance(hours=6)
        spent += 6 * 3600
        shown = (await agent.http.get(f"{HOOKS}/{made['webhook_id']}")).json()
        assert (shown["status"] == "disabled") == (spent > 5 * DAY), spent
    assert shown["disabled_reason"] == "failing"
    assert {each["state"] for each in await deliveries_of(agent)} == {"dead"}
    facts = await kit_mail.rows(run, "SELECT payload FROM facts WHERE type = 'webhook.disabled'")
    assert [row["payload"] for row in facts] == [{"webhook_id": made["webhook_id"], "reason": "failing"}]


async def test_a_success_begins_the_five_days_anew(run: House) -> None:
    agent, poster = await lasting(run), ScriptedPoster(500)
    works = Works(run, poster)
    made = await hook(agent, "http://127.0.0.1:8001/x")
    for day in range(8):
        poster.script = [200] if day == 4 else [500]
        await tell(run, agent)
        await works.step()
        run.clock.advance(days=1)
    assert (await agent.http.get(f"{HOOKS}/{made['webhook_id']}")).json()["status"] == "enabled"


@pytest.mark.parametrize(
    ("status_code", "wish", "waits_s"),
    [
        (429, "60", 60),
        (503, "3600", 3600),
        (503, "1", 5),
        (503, "99999999", DAY),
        (500, "3600", 5),
        (429, "soon", 5),
        (429, "-5", 5),
        (429, "Thu, 01 Jan 1970 00:00:00 GMT", 5),
        (429, "Fri, 01 Jan 2100 00:00:00 GMT", DAY),
    ],
)
async def test_a_busy_receiver_may_ask_for_time(run: House, status_code: int, wish: str, waits_s: int) -> None:
    agent = await run.agent()
    works = Works(run, ScriptedPoster((status_code, wish)))
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)
    before = run.clock.now()
    assert await works.step() == 1
    (found,) = await deliveries_of(agent)
    waits = datetime.fromisoformat(found["next_attempt_at"]) - before
    assert timedelta(0) <= waits - timedelta(seconds=waits_s) < timedelta(seconds=5)


async def test_a_claim_that_nobody_settles_is_tried_again_under_the_same_id(run: House) -> None:
    """What a kill -9 leaves behind: a claim, and no word of how it went."""
    agent = await run.agent()
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)
    dead, poster = Works(run, ScriptedPoster(200)), ScriptedPoster(200)
    await dead.publish()
    assert len(await dead.runner._claim(10)) == 1
    alive = Works(run, poster)
    run.clock.advance(seconds=CLAIM.total_seconds() - 1)
    assert await alive.step() == 0
    assert [each["state"] for each in await deliveries_of(agent)] == ["delivering"]
    run.clock.advance(seconds=2)
    assert await alive.step() == 1
    (found,) = await deliveries_of(agent)
    assert (found["state"], found["event_id"]) == ("succeeded", poster.sent[0][1]["webhook-id"])
    attempts = (await delivery(agent, found["delivery_id"]))["attempts"]
    assert [(each["number"], each["error"], each["status_code"]) for each in attempts] == [
        (1, "unknown", None),
        (2, None, 200),
    ]
    assert attempts[0]["took_ms"] is None


async def test_a_try_that_is_told_of_too_late_changes_nothing(run: House) -> None:
    agent = await run.agent()
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)
    slow, quick = Works(run, ScriptedPoster(500)), Works(run, ScriptedPoster(200))
    await slow.publish()
    (late,) = await slow.runner._claim(10)
    ended = await slow.runner._try(late)
    run.clock.advance(seconds=CLAIM.total_seconds() + 1)
    assert await quick.step() == 1
    await slow.runner._settle([ended])
    (found,) = await deliveries_of(agent)
    assert (found["state"], found["attempt_count"]) == ("succeeded", 2)


async def test_two_workers_share_the_work(run: House) -> None:
    agent, poster = await run.agent(), ScriptedPoster(200)
    for number in range(5):
        await hook(agent, f"http://127.0.0.1:{number + 8100}/x")
    await tell(run, agent, count=20)
    works = [Works(run, poster) for _ in range(4)]
    await works[0].publish()
    tries = await asyncio.gather(*(each.runner.deliver_due() for each in works))
    while sum(tries) < 100:
        tries.append(await works[0].runner.deliver_due())
    assert sum(tries) == 100
    sent = [(target.port, headers["webhook-id"]) for target, headers, _ in poster.sent]
    assert len(sent) == len(set(sent)) == 100


async def test_the_loop_delivers_when_woken_and_drains_when_stopped(run: House, receiver: Receiver) -> None:
    agent, works, stop = await run.agent(), Works(run), asyncio.Event()
    await hook(agent, receiver.url)

    async def slowly(*_: Any) -> None:
        await asyncio.sleep(0.3)
        _[3].write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    receiver.manner = slowly
    with run.hub.listening(WAKE_DELIVERIES, "") as woken:
        running = asyncio.create_task(works.runner.run(woken, stop))
        await tell(run, agent, count=4)
        await works.publish()
        await receiver.count(4)
        stop.set()
        async with asyncio.timeout(5):
            await running
    assert [each["state"] for each in await deliveries_of(agent)] == ["succeeded"] * 4
    works.fetcher.close()


async def test_bad_receivers_hold_up_no_good_one(run: House, receiver: Receiver) -> None:
    """Each way of being bad: while they have their fifteen seconds, the good one has everything at once."""
    agent, stop = await run.agent(), asyncio.Event()
    works = Works(run, timeout_s=15.0)
    manners = [hangs, trickles, floods, resets, says(b"nonsense\r\n\r\n"), status(500)]
    with run.hub.listening(WAKE_DELIVERIES, "") as woken:
        async with contextlib.AsyncExitStack() as stack:
            bad = [await stack.enter_async_context(Receiver(manner).listening()) for manner in manners]
            for one in bad:
                await hook(agent, one.url)
            await hook(agent, receiver.url)
            running = asyncio.create_task(works.runner.run(woken, stop))
            began = time.monotonic()
            await tell(run, agent, count=100)
            await works.publish()
            # A second on a machine that does nothing else; any that waited for a bad one would wait for fifteen.
            await receiver.count(100, within_s=12)
            assert time.monotonic() - began < 12
            assert len(bad[0].got) <= 16
            stop.set()
        await running
    works.fetcher.close()


async def test_a_master_key_can_be_changed(
    run: House, receiver: Receiver, redis_url: str, database_url: str, tmp_path: Any
) -> None:
    agent = await run.agent()
    made = await hook(agent, receiver.url)
    newer = "another master key that only tests use, 40+"
    keys = {"LEASEBOX_SECRET": newer, "LEASEBOX_SECRET_PREVIOUS": SECRET}
    async with hooked(database_url, redis_url, tmp_path, **keys) as after:
        works = Works(after)
        await tell(after, agent)
        assert await works.step() == 1
        await reseal(after.db, sealed_secrets(webhook_keys(after.settings)))
        works.fetcher.close()
    async with hooked(database_url, redis_url, tmp_path, LEASEBOX_SECRET=newer) as later:
        works = Works(later)
        await tell(later, agent)
        assert await works.step() == 1
        works.fetcher.close()
    for one in receiver.got:
        StandardWebhook(made["secret"]).verify(one.body, one.headers)
    assert len(receiver.got) == 2


async def test_a_secret_whose_key_is_lost_fails_visibly(
    run: House, receiver: Receiver, redis_url: str, database_url: str, tmp_path: Any
) -> None:
    agent = await run.agent()
    await hook(agent, receiver.url)
    async with hooked(database_url, redis_url, tmp_path, LEASEBOX_SECRET="x" * 40) as other:
        await tell(other, agent)
        assert await Works(other).step() == 1
    (found,) = await deliveries_of(agent)
    assert (found["state"], found["last_error"]) == ("failed", "secret_lost")
    assert receiver.got == []


async def test_a_fault_of_ours_is_an_outcome_too(run: House) -> None:
    class Broken:
        async def post(self, *_: object) -> Any:
            raise ValueError("no")

    agent = await run.agent()
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent)
    assert await Works(run, Broken()).step() == 1
    (found,) = await deliveries_of(agent)
    assert (found["state"], found["last_error"]) == ("failed", "internal")


async def test_old_deliveries_are_forgotten_and_open_ones_never(run: House) -> None:
    agent, works = await lasting(run), Works(run, ScriptedPoster(200))
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent, count=3)
    await works.step()
    works.runner._poster = ScriptedPoster(500)  # type: ignore[assignment]
    await tell(run, agent)
    await works.step()
    run.clock.advance(days=29)
    assert await forget(run.db, run.clock) == 0
    run.clock.advance(days=2)
    assert await forget(run.db, run.clock) == 3
    assert [each["state"] for each in await deliveries_of(agent)] == ["failed"]


async def test_without_a_free_place_the_loop_waits_for_one(run: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "QUICK_PLACES", 2)
    monkeypatch.setattr(jobs, "_LOOK_AGAIN_S", 30.0)
    agent, stop, works = await run.agent(), asyncio.Event(), Works(run)
    claims = []
    claim = works.runner._claim

    async def counted(most: int) -> Any:
        claims.append(most)
        return await claim(most)

    async def slowly(*talk: Any) -> None:
        await asyncio.sleep(0.1)
        talk[3].write(OK)

    monkeypatch.setattr(works.runner, "_claim", counted)
    async with Receiver(slowly).listening() as receiver:
        await hook(agent, receiver.url)
        await tell(run, agent, count=9)
        await works.publish()
        with run.hub.listening(WAKE_DELIVERIES, "") as woken:
            running = asyncio.create_task(works.runner.run(woken, stop))
            await receiver.count(9, within_s=10)
            stop.set()
            woken.set()
            await running
        works.fetcher.close()
    assert len(claims) < 60, "it does not spin while all places are taken"
    assert [each["state"] for each in await deliveries_of(agent)] == ["succeeded"] * 9


async def endpoints(run: House, agent: Any, count: int, host: str, proven: Any = True) -> None:
    """So many endpoints of a tenant; proven: as after a first success, when they may have the most under way."""
    for number in range(count):
        await hook(agent, f"http://{host}{number}.example/x")
    if proven:
        await kit_mail.change(run, "UPDATE webhook_lanes SET succeeded_at = $1", run.clock.now())


@contextlib.asynccontextmanager
async def delivering(run: House, works: Works) -> AsyncIterator[None]:
    stop = asyncio.Event()
    with run.hub.listening(WAKE_DELIVERIES, "") as woken:
        running = asyncio.create_task(works.runner.run(woken, stop))
        try:
            yield
        finally:
            works.runner._poster.let_go.set()  # type: ignore[attr-defined]
            stop.set()
            woken.set()
            await running


async def arrives(run: House, works: Works, agent: Any, poster: HeldPoster, host: str) -> None:
    """A fact of this tenant reaches its good endpoint while the slow ones are held."""
    before = poster.good.count(host)
    await tell(run, agent)
    await works.publish()

    async def came() -> bool:
        return poster.good.count(host) > before

    await kit_mail.until(came)
    assert not poster.let_go.is_set()


async def steady(poster: HeldPoster, at_least: int) -> None:
    """Until so many are slow, and for a second no more came."""

    async def held() -> bool:
        before = poster.slow
        await asyncio.sleep(1)
        return poster.slow == before >= at_least

    await kit_mail.until(held)


@pytest.mark.parametrize("proven", [True, False], ids=["proven", "new"])
async def test_a_hundred_slow_endpoints_of_two_tenants_hold_up_no_third(
    run: House, monkeypatch: pytest.MonkeyPatch, proven: Any
) -> None:
    """They answer 200 after 14 s, so that nothing fails, and have more facts than there are places."""
    monkeypatch.setattr(jobs, "QUICK_S", 0.02)
    poster, slow, good = HeldPoster(), [await run.agent() for _ in range(2)], await run.agent()
    works = Works(run, poster)
    for each in slow:
        await endpoints(run, each, 55, "slow", proven)
        await tell(run, each, count=25)
    await hook(good, "http://good.example/x")
    await works.publish()
    async with delivering(run, works):
        await steady(poster, 150)
        assert poster.slow <= 300
        for _ in range(3):
            await arrives(run, works, good, poster, "good.example")
    slowness = "SELECT count(*) FROM webhook_lanes WHERE pace_ms = 14000"
    assert await kit_mail.value(run, slowness) >= 10


async def test_slow_endpoints_of_a_tenant_hold_up_no_good_one_of_its_own(run: House) -> None:
    """Each of 99 that are known to be slow has its one try under way."""
    poster, agent = HeldPoster(), await run.agent()
    works = Works(run, poster)
    await endpoints(run, agent, 99, "slow")
    await kit_mail.change(run, "UPDATE webhook_lanes SET pace_ms = 14000")
    await hook(agent, "http://good.example/x")
    await tell(run, agent, count=5)
    await works.publish()
    async with delivering(run, works):
        await steady(poster, 99)
        assert poster.slow == 99
        await arrives(run, works, agent, poster, "good.example")


async def test_a_flood_to_quick_endpoints_holds_up_no_other_tenant(run: House) -> None:
    """A replay of thousands: whoever comes then is in the next claim."""
    poster, many, good = HeldPoster(), await run.agent(), await run.agent()
    works = Works(run, poster)
    await endpoints(run, many, 55, "quick")
    await hook(good, "http://good.example/x")
    await tell(run, many, count=60)
    await works.publish()
    async with delivering(run, works):
        await kit_mail.until(lambda: _more_than(poster, 200))
        began = len(poster.good)
        await tell(run, good)
        await works.publish()
        published = len(poster.good)
        await kit_mail.until(lambda: _more_than(poster, 3300))
        place = poster.good.index("good.example")
        assert began <= place
        assert place - published < 400, "it does not wait for the end of the flood"


async def _more_than(poster: HeldPoster, count: int) -> bool:
    return len(poster.good) > count


async def test_the_delay_that_is_measured_is_ours_and_not_a_replays(
    run: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(metrics.WEBHOOK_DELAY_SECONDS, "observe", seen.append)
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    begin = run.clock.now()
    await tell(run, agent, count=2)
    await works.step()
    run.clock.advance(minutes=20)
    made = await hook(agent, "http://127.0.0.1:8001/x")
    span = {"from": begin.isoformat()}
    answer = await agent.http.post(f"{HOOKS}/{made['webhook_id']}/replay", json=span)
    assert (answer.status_code, answer.json()["replayed"]) == (202, 2)
    assert await works.step() == 2
    assert len(seen) == 2
    assert max(seen) < 600, "not the age of the facts"


async def test_the_gauges_tell_what_waits(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(500))
    await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent, count=2)
    await works.publish()
    await tell(run, agent, count=3)
    run.clock.advance(minutes=5)
    await measure(run.db, run.clock)
    shown = {
        (sample.name.removeprefix("leasebox_webhook_"), sample.labels.get("state")): sample.value
        for family in (
            metrics.WEBHOOK_QUEUE,
            metrics.WEBHOOK_OLDEST_SECONDS,
            metrics.WEBHOOK_FACTS,
            metrics.WEBHOOK_OLDEST_FACT_SECONDS,
        )
        for each in family.collect()
        for sample in each.samples
    }
    assert shown["queue_deliveries", "due"] == 2
    assert shown["queue_deliveries", "dead"] == 0
    assert shown["fan_out_facts", None] == 3
    assert 290 < shown["oldest_due_seconds", None] < 360
    assert 290 < shown["fan_out_lag_seconds", None] < 360
