"""Queued mail whose author loses the right to it meanwhile: his lease, his mailbox, his domain."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leasebox.leases.domains import signing_keys
from leasebox.mail.jobs import purge
from leasebox.sending import jobs, queue, queue_store
from leasebox.sending.dkim_sign import Signer
from leasebox.sending.model import SendPolicy
from leasebox.sending.queue_model import Hop
from leasebox.sending.transport_carrier import Fate, Outcome
from leasebox.sending.transport_reply import Verdict, reply
from leasebox.values.ids import SendAttemptId, TenantId
from leasebox.wiring import process
from leasebox.wiring.domains import dkim_keys
from leasebox.wiring.sending import erase_of_leases
from tests.fakes.relay import FakeRelay
from tests.kit import House
from tests.kit_mail import change, value
from tests.leases.estate import DOMAINS, settled
from tests.sending import outgoing
from tests.sending.outgoing import Author, PlainDesk, becomes, rows, sending, state_of, to, tried

ONE, TWO = "one@there.example", "two@there.example"
ENDED = (550, "5.7.1 The lease ended before this mail was to go out")
LOST = (550, "5.7.1 The domain of From is not a verified one of this tenant any more")
often, author = outgoing.often, outgoing.author


async def verb(author: Author, name: str) -> None:
    answer = await author.agent.http.post(f"/v2/mailboxes/leases/{author.lease['lease_id']}/{name}")
    assert answer.status_code in (200, 202), answer.text


async def erase(author: Author) -> None:
    answer = await author.agent.http.delete(f"/v2/mailboxes/accounts/{author.lease['mailbox_id']}")
    assert answer.status_code == 204, answer.text


async def said(house: House, attempt: SendAttemptId) -> tuple[int | None, str]:
    """The last word on an attempt's only recipient."""
    [row] = await rows(house, "send_recipients", attempt)
    return row["reply_code"], row["reply_text"]


async def claimed(house: House) -> Hop:
    at = house.clock.now()
    got = await house.db.transact(
        lambda tx: queue_store.claim(tx, at, at + jobs.CLAIM, after="", live=[], per_destination=9, places=9)
    )
    [hop] = got.hops
    return hop


async def begun(house: House, hop: Hop) -> bool:
    at = house.clock.now()
    said = [{"command": f"RCPT {ONE}", "code": 250, "text": "OK"}]
    return await house.db.transact(lambda tx: queue_store.begin(tx, hop, at, at + jobs.CLAIM, "mx1", said))


async def test_mail_from_a_lost_domain_never_goes_out_signed_by_its_next_owner(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_then = FakeRelay({"MAIL": "451 4.3.0 Later"})
    async with settled(database_url, redis_url, tmp_path) as estate, later_then.serving() as relay:
        house = estate.house
        first, second, name = await house.agent(), await house.agent(), estate.name()
        view = await estate.verified(first, name)
        author = Author(house, first, await first.lease(local_part="ceo", domain=name, ttl_hours=720))

        async def signers(desk: Any, tenant_id: TenantId, domain: str) -> list[Signer]:
            found = await house.db.read(lambda tx: signing_keys(tx, dkim_keys(house.settings), domain, tenant_id))
            return [Signer(key.domain, key.selector, key.load()) for key in found]

        monkeypatch.setattr(PlainDesk, "signers", signers)
        put_off = await author.queue(ONE)
        later = await author.queue(ONE, at=house.clock.now() + timedelta(days=1))
        async with sending(house, to(relay)):
            await tried(house, put_off, 1)
            await verb(author, "release")
            assert (await first.http.delete(f"{DOMAINS}/{view['domain_id']}")).status_code == 204
            await estate.verified(second, name)
            relay.say("MAIL")
            house.clock.advance(days=1, seconds=5)
            await becomes(house, put_off, "failed")
            await becomes(house, later, "failed")
        assert relay.mails == []
        assert (await said(house, put_off), await said(house, later)) == (LOST, ENDED)
        assert await value(house, "SELECT count(*) FROM mails") == 0, "no notice: the address may be another's"
        assert await value(house, "SELECT count(*) FROM suppressions") == 0
        assert await value(house, "SELECT count(*) FROM outgoing_contents") == 0


async def test_while_the_domain_is_its_tenants_its_mail_goes_out(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with settled(database_url, redis_url, tmp_path) as estate, FakeRelay().serving() as relay:
        house = estate.house
        agent = await house.agent()
        view = await estate.verified(agent)
        author = Author(house, agent, await agent.lease(domain=view["domain"], ttl_hours=24))
        async with sending(house, to(relay)):
            await becomes(house, await author.queue(ONE), "sent")
            await change(house, "UPDATE domains SET state = 'pending', reason = 'ownership_lost'")
            await becomes(house, lost := await author.queue(ONE), "failed")
        assert await said(house, lost) == LOST
        assert await value(house, "SELECT count(*) FROM mails") == 0, "no notice, though the lease is there"
    assert len(relay.mails) == 1


async def test_mail_for_later_fails_if_its_lease_ended_before(house: House, author: Author) -> None:
    later = await author.queue(ONE, at=house.clock.now() + timedelta(hours=2))
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        await verb(author, "release")
        assert await state_of(house, later) == "queued"
        house.clock.advance(hours=2, seconds=1)
        await becomes(house, later, "failed")
    assert relay.sessions == 0
    assert await said(house, later) == ENDED
    assert await value(house, "SELECT count(*) FROM facts WHERE type = 'message.bounced'") == 1
    assert await rows(house, "outgoing_contents", later) == []


async def test_its_text_is_kept_no_longer_than_the_leases_mail(house: House, author: Author) -> None:
    later = await author.queue(ONE, at=house.clock.now() + timedelta(days=29))
    await verb(author, "release")
    house.clock.advance(hours=73)
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        await purge(house.db, process.lease_policy(house.settings), house.clock, erase_of_leases)
        await becomes(house, later, "failed")
    assert relay.sessions == 0
    assert await rows(house, "outgoing_contents", later) == []


@pytest.mark.parametrize("end", ["release", "expiry"])
async def test_mail_that_was_only_put_off_goes_on_after_the_lease(house: House, author: Author, end: str) -> None:
    if end == "expiry":
        house.clock.advance(days=30, seconds=-30)
    async with FakeRelay({"MAIL": "451 4.3.0 Later"}).serving() as relay, sending(house, to(relay)):
        attempt = await author.queue(ONE)
        await tried(house, attempt, 1)
        if end == "release":
            await verb(author, "release")
        relay.say("MAIL")
        house.clock.advance(seconds=61)
        await becomes(house, attempt, "sent")
    assert len(relay.mails) == 1


async def test_nothing_goes_out_while_the_mailbox_is_paused(house: House, author: Author) -> None:
    attempt = await author.queue(ONE, at=house.clock.now() + timedelta(minutes=1))
    await verb(author, "pause")
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        house.clock.advance(seconds=61)
        [one_try] = await tried(house, attempt, 1)
        assert (one_try["outcome"], one_try["replies"][-1]["text"]) == ("deferred", "4.7.1 The mailbox is paused")
        await verb(author, "resume")
        house.clock.advance(seconds=61)
        await becomes(house, attempt, "sent")
    assert len(relay.mails) == 1


async def test_erasing_a_mailbox_takes_back_what_it_sends_and_its_text(house: House, author: Author) -> None:
    other = await Author.new(house)
    kept = await other.queue(ONE)
    later = await author.queue(ONE, "two@other.example", at=house.clock.now() + timedelta(hours=2))
    [sent, mixed] = [await author.queue(ONE, "two@other.example") for _ in range(2)]
    await change(house, "UPDATE send_recipients SET state = 'sent' WHERE attempt_id = $1 AND position = 0", sent)
    await change(house, "UPDATE send_recipients SET state = 'failed' WHERE attempt_id = $1 AND position = 0", mixed)
    await erase(author)
    assert [await state_of(house, each) for each in (later, sent, mixed, kept)] == [
        "cancelled",
        "sent",
        "failed",
        "queued",
    ]
    assert {row["state"] for row in await rows(house, "send_recipients", later)} == {"cancelled"}
    assert {row["state"] for row in await rows(house, "send_hops", later)} == {"done"}
    assert (await rows(house, "send_attempts", later))[0]["finished_at"] is not None
    left = await house.db.read(lambda tx: tx.all("SELECT attempt_id FROM outgoing_contents"))
    assert [row["attempt_id"] for row in left] == [kept]


async def test_erasing_stops_a_worker_that_has_not_sent_the_end(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    hop = await claimed(house)
    await erase(author)
    assert not await begun(house, hop)
    assert await state_of(house, attempt) == "cancelled"


async def test_what_is_being_handed_over_ends_with_that_try(house: House, author: Author) -> None:
    attempt = await author.queue(ONE)
    hop = await claimed(house)
    cargo = await house.db.read(lambda tx: queue_store.cargo(tx, hop, house.settings.mail_domains, house.clock.now()))
    assert cargo is not None
    assert await begun(house, hop)
    await erase(author)
    assert await state_of(house, attempt) == "sending", "its fate is not ours any more"
    assert await rows(house, "outgoing_contents", attempt) == []
    policy, at = SendPolicy("here.example", process.lease_policy(house.settings)), house.clock.now()
    cut = reply("end of mail", None, "cut off")
    outcome = Outcome("unknown", {ONE: Fate(Verdict.DEFERRED, cut)}, "mx1", (cut,))
    await house.db.transact(lambda tx: queue.record(tx, hop, cargo, outcome, policy, at, at, lambda: 0.0))
    assert await state_of(house, attempt) == "deferred"
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        house.clock.advance(seconds=61)
        await becomes(house, attempt, "cancelled")
    assert relay.sessions == 0
    assert await said(house, attempt) == (None, "May have been taken; no reply came")
    assert await value(house, "SELECT count(*) FROM mails") == 0


async def test_an_erase_and_a_worker_at_once_leave_no_attempt_open(house: House, author: Author) -> None:
    attempts = [await author.queue(f"n{number}@d{number}.example") for number in range(30)]
    async with FakeRelay().serving() as relay, sending(house, to(relay)):
        await asyncio.gather(erase(author), *(becomes_over(house, attempt) for attempt in attempts))
    found = [await state_of(house, attempt) for attempt in attempts]
    assert set(found) <= {"sent", "cancelled"}
    assert found.count("sent") == len(relay.mails)
    assert await value(house, "SELECT count(*) FROM outgoing_contents") == 0


async def becomes_over(house: House, attempt: SendAttemptId) -> None:
    while (await rows(house, "send_attempts", attempt))[0]["finished_at"] is None:
        await asyncio.sleep(0.02)


async def test_the_next_lessee_of_an_address_hears_nothing_of_the_mail_before_him(house: House) -> None:
    agent, successor = await house.agent(), await house.agent()
    author = Author(house, agent, await agent.lease(local_part="ceo", ttl_hours=24))
    attempt = await author.queue(ONE)
    async with FakeRelay({"MAIL": "451 4.3.0 Later"}).serving() as relay, sending(house, to(relay)):
        await tried(house, attempt, 1)
        await verb(author, "release")
        await change(house, "UPDATE addresses SET held_until = leased_until")
        assert (await successor.lease(local_part="ceo", ttl_hours=24))["address"] == author.address
        relay.say("MAIL", "550 5.7.1 No")
        house.clock.advance(seconds=61)
        await becomes(house, attempt, "failed")
    assert await value(house, "SELECT count(*) FROM mails") == 0
