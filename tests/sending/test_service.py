"""Taking over, settling and delivering inside, by the verbs themselves: states, facts, counters, and races."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from leasebox.infra.db import Tx
from leasebox.leases.errors import LeaseEnded
from leasebox.sending import attempts_store, service
from leasebox.sending.model import LocalOutcome, SendPolicy
from leasebox.values.clock import rfc3339
from leasebox.values.ids import SendAttemptId
from leasebox.wiring.sending import send_policy
from tests.kit import House
from tests.kit_mail import Post, change, rows, shared_house, shared_post, value
from tests.sending.writing_desk import ELSEWHERE, Writer, attempt_id, facts, kept_contents, states

__all__ = ["shared_house", "shared_post"]
SENT, DELIVERED, BOUNCED = "message.sent", "message.delivered", "message.bounced"


@pytest.fixture
async def ann(shared_house: House) -> Writer:
    return await Writer.new(shared_house, ttl_hours=96)


@pytest.fixture
async def bob(shared_house: House) -> Writer:
    return await Writer.new(shared_house)


def policy(house: House) -> SendPolicy:
    return send_policy(house.settings)


async def outcome(house: House, attempt: SendAttemptId, position: int, state: str, code: int = 250) -> str:
    """Note what became of a recipient and settle, as whoever hands hops over does."""
    at = house.clock.now()

    async def body(tx: Tx) -> str:
        await attempts_store.set_recipient(tx, attempt, position, state, (code, "said"), at)
        return await service.settle(tx, attempt, at)

    return await house.db.transact(body)


async def deliver(house: House, told: dict[str, Any]) -> LocalOutcome:
    """Try an attempt's local hop now."""
    at = house.clock.now()

    async def body(tx: Tx) -> LocalOutcome:
        found = await service.deliver_locally(tx, attempt_id(told), "inbox.leasebox.test", policy(house), at)
        if not found.open:
            await tx.run("UPDATE send_hops SET state = 'done' WHERE attempt_id = $1", attempt_id(told))
        await service.settle(tx, attempt_id(told), at)
        return found

    return await house.db.transact(body)


async def told_types(writer: Writer) -> list[str]:
    return [kind for kind, _ in await facts(writer.house, writer.tenant_id)]


async def test_what_is_in_a_mailbox_is_told_at_once(shared_post: Post, ann: Writer, bob: Writer) -> None:
    told = await ann.send([bob.address, ELSEWHERE])
    (first, sent), (second, delivered) = await facts(ann.house, ann.tenant_id)
    assert (first, second) == (SENT, DELIVERED)
    assert sent == {
        "send_attempt_id": told["send_attempt_id"],
        "message_id": told["message_id"],
        "mailbox_id": ann.box,
        "lease_id": ann.lease["lease_id"],
    }
    assert (delivered["address"], delivered["reply_code"]) == (bob.address, 250)
    view = await ann.attempt(told)
    assert (view["state"], view["sent_at"], view["finished_at"]) == ("sending", view["created_at"], None)
    await shared_post.parsed()


async def test_each_recipient_is_told_of_once_and_bounces_are_counted(ann: Writer) -> None:
    told = await ann.send([ELSEWHERE, "b@elsewhere.example", "c@other.example"])
    attempt = attempt_id(told)
    assert await outcome(ann.house, attempt, 0, "sent") == "sending"
    assert await outcome(ann.house, attempt, 1, "failed", 550) == "sending"
    assert await outcome(ann.house, attempt, 1, "failed", 550) == "sending"
    assert await kept_contents(ann.house, told) == 1
    assert await outcome(ann.house, attempt, 2, "deferred", 450) == "deferred"
    assert await outcome(ann.house, attempt, 2, "failed", 554) == "sent"
    assert await told_types(ann) == [SENT, BOUNCED, BOUNCED]
    assert (await ann.account())["bounce_count"] == 2
    view = await ann.attempt(told)
    assert view["finished_at"] is not None and await kept_contents(ann.house, told) == 0
    assert await outcome(ann.house, attempt, 0, "bounced", 550) == "failed"
    assert await told_types(ann) == [SENT, BOUNCED, BOUNCED, BOUNCED]
    after = await ann.attempt(told)
    assert (after["state"], after["finished_at"], (await ann.account())["bounce_count"]) == (
        *("failed", view["finished_at"]),
        3,
    )


async def test_a_complaint_is_counted_by_mailbox(ann: Writer) -> None:
    at = ann.house.clock.now()
    for _ in range(2):
        await ann.house.db.transact(lambda tx: service.complain(tx, ann.tenant_id, ann.mailbox_id, 1, at))
    told = await ann.account()
    assert (told["complaint_count"], told["bounce_count"], told["total_sent"]) == (2, 0, 0)


async def test_two_hops_that_end_at_once_leave_a_true_state(ann: Writer) -> None:
    for _ in range(10):
        told = await ann.send([ELSEWHERE, "b@other.example"])
        attempt = attempt_id(told)
        found = await asyncio.gather(
            outcome(ann.house, attempt, 0, "failed", 550), outcome(ann.house, attempt, 1, "failed", 550)
        )
        assert sorted(found) == ["failed", "sending"] or sorted(found) == ["failed", "queued"]
        view = await ann.attempt(told)
        assert (view["state"], view["finished_at"] is not None) == ("failed", True)
        assert await kept_contents(ann.house, told) == 0


async def test_an_attempt_that_is_gone_needs_no_settling(house: House) -> None:
    nothing = SendAttemptId.new(house.clock.now())
    assert await house.db.transact(lambda tx: service.settle(tx, nothing, house.clock.now())) == "cancelled"
    assert await house.db.transact(
        lambda tx: service.deliver_locally(tx, nothing, "x.example", policy(house), house.clock.now())
    ) == LocalOutcome(0, [])


async def test_a_paused_mailbox_gets_it_once_it_is_resumed(shared_post: Post, ann: Writer, bob: Writer) -> None:
    await bob.pause()
    told = await ann.send([bob.address, bob.address.replace("@", "+x@")])
    assert await deliver(ann.house, told) == LocalOutcome(2, [(450, service.REPLIES[service.Inbound.PAUSED][1])] * 2)
    await bob.pause("resume")
    found = await deliver(ann.house, told)
    assert (found.open, {code for code, _ in found.replies}) == (0, {250})
    view = await ann.attempt(told)
    assert (view["state"], set(states(view).values())) == ("sent", {"delivered"})
    assert await told_types(ann) == [SENT, DELIVERED, DELIVERED]
    await shared_post.parsed()
    (got,) = await bob.messages()
    assert got["auth"] == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}


async def test_a_mailbox_that_ended_meanwhile_fails(shared_post: Post, ann: Writer, bob: Writer) -> None:
    await bob.pause()
    told = await ann.send(bob.address)
    await bob.pause("release")
    found = await deliver(ann.house, told)
    assert (found.open, found.replies[0][0]) == (0, 550)
    assert ((await ann.attempt(told))["state"], await told_types(ann)) == ("failed", [BOUNCED])
    assert await bob.messages() == []
    del shared_post


async def test_mail_of_a_later_day_is_kept_back(shared_post: Post, ann: Writer, bob: Writer) -> None:
    later = ann.house.clock.now() + timedelta(days=2)
    told = await ann.send([bob.address, ELSEWHERE], send_at=rfc3339(later))
    assert told["submission_status"] == "queued"
    view = await ann.attempt(told)
    assert view["send_at"] == rfc3339(later)
    assert view["expires_at"] == rfc3339(later + timedelta(days=2))
    assert {each["next_try_at"] for each in view["hops"]} == {rfc3339(later)}
    assert set(states(view).values()) == {"queued"}
    await shared_post.parsed()
    assert await bob.messages() == []
    gone = await ann.ask("nobody-at-all-here@inbox.leasebox.test", send_at=rfc3339(later))
    assert gone.status_code == 422
    found = await deliver(ann.house, told)
    assert (found.open, (await ann.attempt(told))["state"]) == (0, "sending")
    await shared_post.parsed()
    assert len(await bob.messages()) == 1


async def test_releasing_and_sending_at_once_never_sends_for_an_ended_lease(shared_house: House) -> None:
    for _ in range(5):
        writer = await Writer.new(shared_house)
        sent, _ = await asyncio.gather(writer.ask(), writer.pause("release"))
        assert sent.status_code in (202, 410)
        count = await value(shared_house, "SELECT count(*) FROM send_attempts WHERE mailbox_id = $1", writer.mailbox_id)
        assert count == (sent.status_code == 202)


async def test_a_newer_lease_of_the_same_name_is_not_charged_for_it(shared_house: House, ann: Writer) -> None:
    other = await Writer.new(shared_house)
    await change(
        shared_house,
        """UPDATE addresses SET mailbox_id = $2, lease_id = (SELECT id FROM leases WHERE mailbox_id = $2)
           WHERE address = $1""",
        ann.address,
        other.mailbox_id,
    )
    refused = await ann.ask()
    assert (refused.status_code, refused.json()["error"]) == (410, LeaseEnded.code)
    (used,) = await rows(
        shared_house, "SELECT used_bytes, used_messages FROM leases WHERE mailbox_id = $1", other.mailbox_id
    )
    assert tuple(used) == (0, 0)


async def test_mail_to_a_role_address_is_for_the_house(shared_post: Post, ann: Writer) -> None:
    sql = "SELECT count(*) FROM mails WHERE purpose = 'house' AND mail_from = $1"
    told = await ann.send(["Postmaster@inbox.leasebox.test", "abuse@inbox.leasebox.test"])
    assert (told["submission_status"], len(told["accepted"])) == ("sent", 2)
    assert await value(ann.house, sql, ann.address) == 1
    later = rfc3339(ann.house.clock.now() + timedelta(days=1))
    told = await ann.send("postmaster@inbox.leasebox.test", send_at=later)
    assert (told["submission_status"], await value(ann.house, sql, ann.address)) == ("queued", 1)
    assert await deliver(ann.house, told) == LocalOutcome(0, [service.TAKEN])
    assert ((await ann.attempt(told))["state"], await value(ann.house, sql, ann.address)) == ("sent", 2)
    await shared_post.parsed()
