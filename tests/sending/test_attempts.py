"""Cancelling against a worker at its work; counters."""

import asyncio
from datetime import timedelta

import pytest

from leasebox.audit.model import Act
from leasebox.infra.db import Tx
from leasebox.sending import attempts, queue_store
from leasebox.sending.queue_model import Hop
from leasebox.values.errors import NotFound
from leasebox.values.ids import MailboxId
from tests.kit import House
from tests.kit_mail import rows, shared_house, value
from tests.sending.writing_desk import ELSEWHERE, Writer, attempt_id, kept_contents, states

__all__ = ["shared_house"]


@pytest.fixture
async def ann(house: House) -> Writer:
    return await Writer.new(house)


async def claimed(house: House) -> tuple[Hop, ...]:
    """What a worker takes now."""
    at = house.clock.now()
    found = await house.db.transact(
        lambda tx: queue_store.claim(
            tx, at, at + timedelta(minutes=5), after="", live=(), per_destination=50, places=50
        )
    )
    return found.hops


async def begun(house: House, hop: Hop) -> bool:
    """Whether the worker may send the end of the message."""
    at = house.clock.now()
    return await house.db.transact(lambda tx: queue_store.begin(tx, hop, at, at + timedelta(minutes=5), "mx", []))


async def cancel(ann: Writer, told: dict[str, str]) -> int:
    return (await ann.http.post(f"/v2/send-attempts/{told['send_attempt_id']}/cancel")).status_code


async def test_what_waits_or_is_only_claimed_can_be_taken_back(ann: Writer) -> None:
    waiting = await ann.send()
    assert await cancel(ann, waiting) == 200
    taken = await ann.send()
    (hop,) = await claimed(ann.house)
    assert (await ann.attempt(taken))["state"] == "sending"
    assert await cancel(ann, taken) == 200
    assert not await begun(ann.house, hop)
    for told in (waiting, taken):
        view = await ann.attempt(told)
        assert (view["state"], states(view), view["hops"][0]["state"]) == (
            *("cancelled", {ELSEWHERE: "cancelled"}),
            "done",
        )
        assert (view["finished_at"] is not None, await kept_contents(ann.house, told)) == (True, 0)
        assert await cancel(ann, told) == 409
    assert await claimed(ann.house) == ()
    assert (await ann.account())["total_sent"] == 2, "what was charged stays charged"


async def test_who_may_have_it_already_is_not_said_to_have_got_nothing(ann: Writer) -> None:
    told = await ann.send([ELSEWHERE, "b@other.example"])
    hops = {hop.destination: hop for hop in await claimed(ann.house)}
    assert await begun(ann.house, hops["elsewhere.example"])
    ann.house.clock.advance(minutes=6)
    await claimed(ann.house)
    assert await cancel(ann, told) == 200
    view = await ann.attempt(told)
    assert (view["state"], [each["reply_text"] for each in view["recipients"]]) == (
        "cancelled",
        ["May have been taken; no reply came", None],
    )


async def test_what_is_being_handed_over_cannot(ann: Writer) -> None:
    told = await ann.send([ELSEWHERE, "b@other.example"])
    hops = {hop.destination: hop for hop in await claimed(ann.house)}
    assert await begun(ann.house, hops["elsewhere.example"])
    assert await cancel(ann, told) == 200
    assert states(await ann.attempt(told)) == {ELSEWHERE: "queued", "b@other.example": "cancelled"}
    assert (await ann.attempt(told))["state"] == "sending"
    assert await cancel(ann, told) == 409


async def test_of_a_worker_and_a_cancel_at_once_one_wins(ann: Writer) -> None:
    outcomes = set()
    for _ in range(15):
        told = await ann.send()
        (hop,) = await claimed(ann.house)
        began, status = await asyncio.gather(begun(ann.house, hop), cancel(ann, told))
        assert (began, status) in {(True, 409), (False, 200)}
        outcomes.add(began)
        found = states(await ann.attempt(told))[ELSEWHERE]
        assert found == ("queued" if began else "cancelled")
    assert outcomes


async def test_of_many_cancels_at_once_one_is_written_down(ann: Writer) -> None:
    told = await ann.send()
    assert sorted(await asyncio.gather(*(cancel(ann, told) for _ in range(6)))) == [200] + [409] * 5
    found = await rows(
        ann.house,
        "SELECT actor, detail FROM audit_rows WHERE action = 'send.cancel' AND resource = $1",
        told["send_attempt_id"],
    )
    assert [(row["actor"], row["detail"]) for row in found] == [(ann.agent.agent_id, {"recipients": 1})]


async def test_a_repeated_cancel_under_one_key_is_the_same_answer(ann: Writer) -> None:
    path = f"/v2/send-attempts/{(await ann.send())['send_attempt_id']}/cancel"
    first = await ann.http.post(path, headers={"idempotency-key": "k"})
    again = await ann.http.post(path, headers={"idempotency-key": "k"})
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())


async def test_mailboxes_without_sends_count_nothing(shared_house: House) -> None:
    ann, bob = await Writer.new(shared_house), await Writer.new(shared_house)
    await ann.send([ELSEWHERE, "b@other.example"])
    at = shared_house.clock.now()
    found = await shared_house.db.read(
        lambda tx: attempts.counters(tx, ann.tenant_id, [ann.mailbox_id, bob.mailbox_id], at, 7)
    )
    assert (found[ann.mailbox_id].sends_today, found[ann.mailbox_id].daily_send_limit) == (2, 7)
    assert (found[bob.mailbox_id].sends_today, found[bob.mailbox_id].total_sent) == (0, 0), "another tenant's"


async def test_a_limit_is_set_and_taken_back(shared_house: House) -> None:
    ann = await Writer.new(shared_house)

    async def limit(most: int | None, mailbox_id: MailboxId = ann.mailbox_id) -> None:
        act = Act(shared_house.clock.now(), "test", "mailbox.limit_sends", str(mailbox_id), None, "req_test")

        async def body(tx: Tx) -> None:
            await attempts.limit_sends(tx, mailbox_id, most, act)

        await shared_house.db.transact(body)

    await limit(1)
    await ann.send()
    assert (await ann.ask()).status_code == 429
    await limit(0)
    assert (await ann.ask()).json()["retry_at"] is None
    await limit(None)
    await ann.send()
    tenants = await rows(shared_house, "SELECT DISTINCT tenant_id FROM audit_rows WHERE resource = $1", ann.box)
    assert [row["tenant_id"] for row in tenants] == [ann.tenant_id]
    with pytest.raises(NotFound):
        await limit(5, MailboxId.new(shared_house.clock.now()))


async def test_nothing_of_another_tenant_is_found(shared_house: House) -> None:
    ann, bob = await Writer.new(shared_house), await Writer.new(shared_house)
    told = await ann.send()
    for path in (f"/v2/send-attempts/{told['send_attempt_id']}", f"/v2/send-attempts?mailbox_id={ann.box}"):
        assert (await bob.http.get(path)).status_code == 404
    assert await cancel(bob, told) == 404
    assert (await bob.http.get("/v2/send-attempts")).json()["items"] == []
    assert await value(shared_house, "SELECT state FROM send_attempts WHERE id = $1", attempt_id(told)) == "queued"
