"""The runner over a real database and a relay that says what it is told to."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from leasebox.sending import attempts_store, jobs, queue, queue_store, service
from leasebox.sending.model import WAKE_QUEUE
from leasebox.sending.queue_model import Pace
from leasebox.sending.relay import NoRoute, Nowhere
from leasebox.sending.transport_carrier import stopped
from leasebox.sending.transport_pool import Pool
from leasebox.values.errors import Unavailable
from tests.fakes.relay import HANG, RESET, FakeRelay
from tests.kit import House
from tests.kit_mail import change, messages_of, parsing, until, value
from tests.sending import outgoing
from tests.sending.outgoing import Author, Ways, becomes, rows, runner_of, sending, state_of, to, tried, wait_s, way

ONE, TWO, THREE = "one@there.example", "Two@there.example", "three@there.example"
often, author = outgoing.often, outgoing.author


async def test_what_is_queued_is_handed_over_and_all_of_it_is_written_down(house: House, author: Author) -> None:
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE, TWO)
        await becomes(house, attempt, "sent")
    [mail] = relay.mails
    assert mail.recipients == (ONE, TWO)
    assert mail.sender == f"bounce+{str(attempt)[4:]}@inbox.leasebox.test"
    [one_try] = await rows(house, "send_tries", attempt)
    assert (one_try["outcome"], one_try["number"]) == ("sent", 1)
    assert one_try["remote"] == f"mx1.example [127.0.0.1]:{relay.port}"
    assert one_try["began_at"] <= one_try["ended_at"]
    assert [(each["command"], each["code"]) for each in one_try["replies"]] == [
        ("connect", 220),
        ("EHLO", 250),
        ("MAIL", 250),
        (f"RCPT {ONE}", 250),
        (f"RCPT {TWO}", 250),
        ("DATA", 354),
        ("end of mail", 250),
    ]
    recipients = await rows(house, "send_recipients", attempt)
    assert {(each["state"], each["reply_code"], each["reply_text"]) for each in recipients} == {
        ("sent", 250, "2.0.0 Taken as 1")
    }
    [hop] = await rows(house, "send_hops", attempt)
    assert (hop["state"], hop["tries"], hop["claim"]) == ("done", 1, None)
    assert await rows(house, "outgoing_contents", attempt) == []
    assert await value(house, "SELECT count(*) FROM facts WHERE type = 'message.sent'") == 1


async def test_each_domain_has_a_mail_of_its_own(house: House, author: Author) -> None:
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE, "four@elsewhere.example")
        await becomes(house, attempt, "sent")
    assert sorted(mail.recipients for mail in relay.mails) == [("four@elsewhere.example",), (ONE,)]


async def test_replies_to_recipients_are_kept_apart(house: House, author: Author) -> None:
    script = {f"RCPT {TWO}": "450 4.2.1 Greylisted", f"RCPT {THREE}": "550 5.1.1 No such user"}
    async with FakeRelay(script).serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE, TWO, THREE)
        [one_try] = await tried(house, attempt, 1)
        assert one_try["outcome"] == "partial"
        states = {each["address"]: each["state"] for each in await rows(house, "send_recipients", attempt)}
        assert states == {ONE: "sent", TWO: "deferred", THREE: "failed"}
        assert await state_of(house, attempt) == "deferred"
        relay.say(f"RCPT {TWO}")
        house.clock.advance(seconds=61)
        await becomes(house, attempt, "sent")
    assert [mail.recipients for mail in relay.mails] == [(ONE,), (TWO,)]


async def test_pauses_grow_until_its_time_is_over_and_then_the_author_hears_of_it(house: House, author: Author) -> None:
    pauses = []
    async with FakeRelay({"MAIL": "451 4.3.0 Later"}).serving() as relay, sending(house, to(relay)), parsing(house):
        attempt = await author.queue(ONE)
        for number in range(1, 13):
            await tried(house, attempt, number)
            if await state_of(house, attempt) != "deferred":
                break
            pauses.append(round(await wait_s(house, attempt) / 60))
            house.clock.advance(seconds=pauses[-1] * 60 + 5)
        assert pauses[:8] == [1, 5, 15, 30, 60, 120, 240, 480]
        assert sum(pauses) == pytest.approx(48 * 60, abs=5), "the last try is made when the time is over"
        assert await state_of(house, attempt) == "failed"
        [recipient] = await rows(house, "send_recipients", attempt)
        assert recipient["reply_text"] == "4.4.7 Not delivered in time; at last: 451 4.3.0 Later"
        [told] = await told_author(author)
    assert told["subject"] == f"Undelivered mail: {ONE}"
    assert await value(house, "SELECT count(*) FROM facts WHERE type = 'message.bounced'") == 1
    assert await value(house, "SELECT count(*) FROM suppressions") == 0, "nobody said that the address is wrong"


async def told_author(author: Author) -> list[dict[str, Any]]:
    """What stands in the author's mailbox, once something does."""

    agent = await author.house.agent(author.agent.wallet)

    async def there() -> bool:
        return bool(await messages_of(agent))

    await until(there)
    return await messages_of(agent)


async def test_a_refusal_for_good_fails_at_once_and_suppresses_an_address_that_does_not_exist(
    house: House, author: Author
) -> None:
    script = {f"RCPT {TWO}": "550 5.1.1 No such user", f"RCPT {ONE}": "550 5.7.1 We do not like you"}
    async with FakeRelay(script).serving() as relay, sending(house, to(relay)), parsing(house):
        attempt = await author.queue(ONE, TWO)
        await becomes(house, attempt, "failed")
        [told] = await told_author(author)
    assert told["parsed_status"] == "none"
    suppressed = await house.db.read(lambda tx: tx.all("SELECT * FROM suppressions"))
    assert [(row["address"], row["reason"], row["attempt_id"]) for row in suppressed] == [
        ("two@there.example", "hard_bounce", attempt)
    ]
    assert await value(house, "SELECT bounce_count FROM mailbox_sends") == 2


@pytest.mark.parametrize(
    ("field", "notices"), [("Auto-Submitted: auto-generated", 1), ("Content-Type: multipart/report; boundary=x", 0)]
)
async def test_a_notice_for_whatever_is_none_itself(house: House, author: Author, field: str, notices: int) -> None:
    async with FakeRelay({"MAIL": "550 5.7.1 No"}).serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE, more=f"{field}\r\n")
        await becomes(house, attempt, "failed")
    assert await value(house, "SELECT count(*) FROM mails") == notices


async def test_silence_after_the_end_is_told_as_unknown_and_tried_again(house: House, author: Author) -> None:
    async with FakeRelay({"end": [RESET, "250 2.0.0 OK"]}).serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE)
        [first] = await tried(house, attempt, 1)
        assert first["outcome"] == "unknown"
        assert await state_of(house, attempt) == "deferred"
        house.clock.advance(seconds=61)
        await becomes(house, attempt, "sent")
    assert [row["outcome"] for row in await rows(house, "send_tries", attempt, "number")] == ["unknown", "sent"]


async def test_the_next_host_is_tried_when_the_first_has_trouble(house: House, author: Author) -> None:
    busy, dropping, good = FakeRelay({"connect": "421 4.3.2 Busy"}), FakeRelay({"DATA": RESET}), FakeRelay()
    async with (
        busy.serving(),
        dropping.serving(),
        good.serving(),
        sending(house, Ways(**{"*": way(busy, dropping, good)})),
    ):
        attempt = await author.queue(ONE)
        await becomes(house, attempt, "sent")
    [one_try] = await rows(house, "send_tries", attempt)
    assert one_try["remote"].startswith("mx3.example")
    assert [each["code"] for each in one_try["replies"]][:1] == [421]
    assert len(good.mails) == 1


async def test_after_the_end_was_sent_no_other_host_is_tried(house: House, author: Author) -> None:
    doubtful, good = FakeRelay({"end": RESET}), FakeRelay()
    async with doubtful.serving(), good.serving(), sending(house, Ways(**{"*": way(doubtful, good)})):
        attempt = await author.queue(ONE)
        [one_try] = await tried(house, attempt, 1)
    assert one_try["outcome"] == "unknown"
    assert good.sessions == 0


async def test_without_a_way_out_mail_waits_and_says_why(house: House, author: Author) -> None:
    async with sending(house, Nowhere()):
        attempt = await author.queue(ONE)
        [one_try] = await tried(house, attempt, 1)
        assert (one_try["outcome"], one_try["remote"]) == ("deferred", None)
        assert await state_of(house, attempt) == "deferred"
    [recipient] = await rows(house, "send_recipients", attempt)
    assert recipient["reply_text"] == "4.4.4 No way to there.example: LEASEBOX_DNS is off and LEASEBOX_RELAY is not set"


@pytest.mark.parametrize(
    ("stop", "relent", "said"),
    [
        ("UPDATE leases SET frozen_at = now()", "UPDATE leases SET frozen_at = NULL", "The mailbox is frozen"),
        ("UPDATE tenants SET status = 'suspended'", "UPDATE tenants SET status = 'active'", "The tenant is not active"),
    ],
    ids=["frozen", "suspended"],
)
async def test_whom_an_operator_has_stopped_sends_nothing_more(
    house: House, author: Author, stop: str, relent: str, said: str
) -> None:
    async with FakeRelay().serving() as relay:
        attempt = await author.queue(ONE)
        await change(house, stop)
        async with sending(house, to(relay)):
            [one_try] = await tried(house, attempt, 1)
            assert (one_try["outcome"], one_try["replies"][-1]["text"]) == ("deferred", f"4.7.1 {said}")
            assert relay.mails == []
            await change(house, relent)
            house.clock.advance(seconds=61)
            await becomes(house, attempt, "sent")
    assert len(relay.mails) == 1


async def test_what_was_suppressed_or_denied_since_it_was_queued_is_not_sent(house: House, author: Author) -> None:
    later = house.clock.now() + timedelta(minutes=1)
    mixed, alone = await author.queue(ONE, TWO, at=later), await author.queue("a@denied.example", at=later)
    other = await Author.new(house)
    inside = await author.queue(other.address, "postmaster@inbox.leasebox.test", at=later, route="local")
    for address in (ONE, other.address):
        answer = await author.agent.http.post("/v2/suppressions", json={"address": address})
        assert answer.status_code in (200, 201), answer.text
    await change(house, "INSERT INTO denied_domains VALUES ('recipient', 'denied.example', '', 'test', now())")
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        house.clock.advance(seconds=61)
        await becomes(house, mixed, "sent")
        await becomes(house, alone, "failed")
        await becomes(house, inside, "failed")
    assert [mail.recipients for mail in relay.mails] == [(TWO,)]
    told = "SELECT count(*) FROM mails WHERE position(convert_to($1, 'UTF8') IN content) > 0"
    assert await value(house, told, f"rfc822; {other.address}") == 1, "the author hears of it once"
    texts = {
        row["address"]: row["reply_text"]
        for attempt in (mixed, alone, inside)
        for row in await rows(house, "send_recipients", attempt)
        if row["reply_text"].startswith("5.7.1")
    }
    assert texts == {
        ONE: "5.7.1 This address is suppressed (manual)",
        other.address: "5.7.1 This address is suppressed (manual)",
        "a@denied.example": "5.7.1 This instance sends no mail to that domain",
    }


async def test_a_domain_that_takes_no_mail_fails_at_once(house: House, author: Author) -> None:
    async with sending(house, Ways(**{"*": NoRoute(556, "5.1.10 there.example takes no mail (null MX)")})):
        attempt = await author.queue(ONE)
        await becomes(house, attempt, "failed")
    [recipient] = await rows(house, "send_recipients", attempt)
    assert recipient["reply_code"] == 556


async def test_not_before_its_time(house: House, author: Author) -> None:
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        later = await author.queue(ONE, at=house.clock.now() + timedelta(hours=1))
        now = await author.queue(TWO)
        await becomes(house, now, "sent")
        assert await state_of(house, later) == "queued"
        house.clock.advance(hours=1, seconds=1)
        await becomes(house, later, "sent")
    assert len(relay.mails) == 2


async def test_a_wake_up_starts_it_at_once(house: House, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 60.0)
    async with FakeRelay().serving() as relay:
        runner, stop = runner_of(house, to(relay)), asyncio.Event()
        with house.hub.listening(WAKE_QUEUE, "") as woken:
            running = asyncio.create_task(runner.run(woken, stop))
            await asyncio.sleep(0.1)
            attempt = await author.queue(ONE)
            woken.set()
            await becomes(house, attempt, "sent")
            stop.set()
            await running
    assert relay.sessions == 1


async def test_ends_pass_one_by_one_on_kept_connections(house: House, author: Author) -> None:
    """While all else runs side by side: what a death can leave in doubt is one mail for each route."""
    async with FakeRelay().serving() as relay:
        attempts = [await author.queue(f"n{number}@there.example") for number in range(40)]
        async with sending(house, to(relay), Pace(20, 10)):
            for attempt in attempts:
                await becomes(house, attempt, "sent")
    assert len(relay.mails) == 40
    assert relay.most_at_the_end == 1
    assert 1 < relay.most_open <= 10
    assert relay.sessions <= 10


async def test_two_workers_claim_each_hop_once_and_keep_the_cap_together(house: House, author: Author) -> None:
    attempts = [await author.queue(f"n{number}@there.example") for number in range(60)]
    async with (
        FakeRelay().serving() as relay,
        sending(house, to(relay), Pace(20, 4)),
        sending(house, to(relay), Pace(20, 4)),
    ):
        for attempt in attempts:
            await becomes(house, attempt, "sent")
    assert len(relay.mails) == 60
    assert len({mail.recipients for mail in relay.mails}) == 60


async def test_claims_at_once_never_pass_the_cap(house: House, author: Author) -> None:
    for number in range(30):
        await author.queue(f"n{number}@there.example")
    now = house.clock.now()

    async def claim() -> list[Any]:
        claimed = await house.db.transact(
            lambda tx: queue_store.claim(tx, now, now + jobs.CLAIM, after="", live=[], per_destination=7, places=20)
        )
        return list(claimed.hops)

    taken = await asyncio.gather(*(claim() for _ in range(10)))
    assert sum(map(len, taken)) == 7
    assert len({hop.attempt_id for hops in taken for hop in hops}) == 7


async def test_a_flood_to_one_domain_does_not_keep_others_waiting(house: House, author: Author) -> None:
    for number in range(300):
        await author.queue(f"n{number}@flood.example")
    single = await author.queue("one@zzz.example")
    async with FakeRelay().serving() as relay, sending(house, to(relay), Pace(4, 2)):
        await becomes(house, single, "sent")
        place = [mail.recipients[0] for mail in relay.mails].index("one@zzz.example")
    assert place <= 6


async def test_a_hop_left_by_a_dead_worker_is_tried_again_and_the_doubt_is_told(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    [hop] = await claimed(house)
    now = house.clock.now()
    assert await house.db.transact(lambda tx: queue_store.begin(tx, hop, now, now + jobs.CLAIM, "dead", []))
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        await asyncio.sleep(0.2)
        assert relay.sessions == 0, "its worker may live"
        house.clock.advance(seconds=16)
        await becomes(house, attempt, "sent")
    first, second = await rows(house, "send_tries", attempt, "number")
    assert (first["outcome"], first["remote"], second["outcome"]) == ("unknown", "dead", "sent")
    assert first["ended_at"] is not None
    [row] = await rows(house, "send_hops", attempt)
    assert row["tries"] == 2


async def claimed(house: House, places: int = 10) -> list[Any]:
    now = house.clock.now()
    got = await house.db.transact(
        lambda tx: queue_store.claim(tx, now, now + jobs.CLAIM, after="", live=[], per_destination=10, places=places)
    )
    return list(got.hops)


async def test_a_living_worker_keeps_its_claims(house: House, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BEAT_S", 0.05)
    attempt = await author.queue(ONE)
    async with FakeRelay({"MAIL": HANG}).serving() as slow, FakeRelay().serving() as quick, sending(house, to(slow)):
        await until(lambda: _said(slow, "MAIL"))
        for _ in range(4):
            house.clock.advance(seconds=10)
            await asyncio.sleep(0.15)
        async with sending(house, to(quick)):
            await asyncio.sleep(0.3)
        assert quick.sessions == 0
    assert await state_of(house, attempt) in ("deferred", "queued")


async def _said(relay: FakeRelay, stage: str) -> bool:
    return relay.stages[stage] > 0


async def test_cancelled_before_the_end_was_sent_means_not_sent(house: House, author: Author) -> None:
    async with FakeRelay().serving() as relay:
        attempts = [await author.queue(f"n{number}@d{number}.example") for number in range(40)]
        async with sending(house, to(relay), Pace(10, 5)):

            async def cancel(attempt: Any) -> bool:
                async def body(tx: Any) -> bool:
                    done = await attempts_store.cancel(tx, attempt, house.clock.now())
                    await service.settle(tx, attempt, house.clock.now())
                    return bool(done)

                return await house.db.transact(body)

            taken_back = await asyncio.gather(*(cancel(attempt) for attempt in attempts))
            for attempt, cancelled in zip(attempts, taken_back, strict=True):
                await becomes(house, attempt, "cancelled" if cancelled else "sent")
        assert len(relay.mails) == taken_back.count(False)


async def test_a_reply_that_comes_after_the_claim_ran_out_still_counts(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    [hop] = await claimed(house)
    cargo = await house.db.read(lambda tx: queue_store.cargo(tx, hop, house.settings.mail_domains, house.clock.now()))
    assert cargo is not None
    house.clock.advance(seconds=20)
    [again] = await claimed(house)
    assert (again.attempt_id, again.claim != hop.claim) == (attempt, True)
    runner = runner_of(house, Nowhere())
    entry = jobs.Entry(house.db, runner._policy, house.clock, hop, cargo, lambda: 0.0)
    reply = stopped([ONE], NoRoute(250, "2.0.0 Taken").reply)
    await entry.settle(reply)
    assert await state_of(house, attempt) == "sent"
    other = jobs.Entry(house.db, runner._policy, house.clock, again, cargo, lambda: 0.0)
    assert not await other.begin("late", []), "the other worker may not send it again"


async def test_a_reply_is_written_down_however_long_the_database_is_away(
    house: House, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_RETRY_S", 0.01)
    failures = iter([True, True, True, False])
    whole = queue.record

    async def flaky(*what: Any) -> None:
        if next(failures, False):
            raise Unavailable("gone", retry_after_s=1)
        await whole(*what)

    monkeypatch.setattr(queue, "record", flaky)
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE)
        await becomes(house, attempt, "sent")
    assert len(relay.mails) == 1


async def test_a_fault_of_ours_in_the_books_does_not_send_a_mail_twice(
    house: House, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*what: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(queue, "record", broken)
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE)
        await becomes(house, attempt, "sent")
        house.clock.advance(hours=1)
        await asyncio.sleep(0.2)
    assert len(relay.mails) == 1


async def test_a_fault_of_ours_before_that_puts_it_off(
    house: House, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        async def route(self, destination: str) -> Any:
            raise ValueError(destination)

    async with sending(house, Broken()):
        attempt = await author.queue(ONE)
        [one_try] = await tried(house, attempt, 1)
    assert one_try["outcome"] == "deferred"
    assert one_try["replies"][0]["text"] == "a fault of this instance; its log says more"
    assert 55 < await wait_s(house, attempt) <= 60


async def test_told_to_stop_it_waits_for_the_reply_and_gives_back_the_rest(
    house: House, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "DRAIN_S", 0.4)
    stuck, quick = FakeRelay({"MAIL": HANG}), FakeRelay()
    async with stuck.serving(), quick.serving():
        ways = Ways(**{"stuck.example": way(stuck, key="stuck"), "*": way(quick)})
        async with sending(house, ways):
            back = await author.queue("one@stuck.example")
            await until(lambda: _said(stuck, "MAIL"))
            gone = await author.queue(ONE)
            await until(lambda: _said(quick, "DATA"))
        [hop] = await rows(house, "send_hops", back)
        assert (hop["state"], hop["tries"], hop["claim"]) == ("waiting", 0, None)
        assert await state_of(house, back) == "queued"
        assert await state_of(house, gone) == "sent"


async def test_a_local_hop_needs_no_network(house: House, author: Author) -> None:
    other = await Author.new(house)
    async with sending(house, Nowhere()), parsing(house):
        attempt = await author.queue(other.address, route="local")
        await becomes(house, attempt, "sent")
        [got] = await told_author(other)
    assert got["subject"] == "Hello"
    [one_try] = await rows(house, "send_tries", attempt)
    assert (one_try["outcome"], one_try["remote"]) == ("sent", None)


async def test_a_local_hop_to_a_mailbox_that_has_ended_is_told_to_its_author(house: House, author: Author) -> None:
    other = await Author.new(house)
    attempt = await author.queue(other.address, route="local", at=house.clock.now() + timedelta(minutes=1))
    released = await other.agent.http.post(f"/v2/mailboxes/leases/{other.lease['lease_id']}/release")
    assert released.status_code == 202
    house.clock.advance(seconds=61)
    async with sending(house, Nowhere()), parsing(house):
        await becomes(house, attempt, "failed")
        [told] = await told_author(author)
    assert told["subject"] == f"Undelivered mail: {other.address}"


async def test_one_mail_heavier_than_the_scales_passes_alone() -> None:
    scales, order = jobs.Scales(100), []

    async def carry(weight: int, hold_s: float) -> None:
        async with scales.carrying(weight):
            order.append(weight)
            await asyncio.sleep(hold_s)
            order.append(-weight)

    await asyncio.gather(carry(60, 0.05), carry(1000, 0.01), carry(10, 0.01))
    assert order == [60, -60, 1000, -1000, 10, -10]


async def test_the_depth_of_the_queue_is_measured(house: House, author: Author) -> None:
    await author.queue(ONE)
    await author.queue(TWO, at=house.clock.now() + timedelta(hours=1))
    depth = await house.db.read(lambda tx: queue_store.depth(tx, house.clock.now() + timedelta(seconds=90)))
    assert (depth.waiting, depth.under_way) == (2, 0)
    await jobs.measure(house.db, house.clock.now() + timedelta(seconds=90))
    from leasebox.infra import metrics

    assert "leasebox_send_queue_hops" in metrics.render().decode()


async def test_a_pool_is_closed_with_its_idle_connections(house: House) -> None:
    pool = Pool()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await pool.close()
    assert pool.take("anything") is None
