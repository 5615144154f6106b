"""Publishing with one statement: the same rows as statement by statement, all of them or none, each mail once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from leasebox.mail import parse_worker, service, threads
from leasebox.mail.model import FreshMessage, PendingMail
from leasebox.mail.store import claim_mails
from leasebox.values.ids import LeaseId, MailboxId, ThreadId
from tests import kit_mail
from tests.kit import House
from tests.kit_mail import Post, code_mail, mail, messages_of

shared_house = kit_mail.shared_house
AUTH = {"spf": "none", "dkim": "pass", "dmarc": "none"}
RICH = (
    b"From: Shop <no-reply@shop.example>\r\nTo: Ann <a@b.example>, c@d.example\r\nCc: e@f.example\r\n"
    b"Reply-To: r@shop.example\r\nSubject: Code \xff\r\nMessage-ID: <rich@shop.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/html\r\n\r\n"
    b"<p>Your code is 481207</p><a href=https://shop.example/verify?token=Zx81kQ0aTT9>Verify</a>\r\n"
    b"--q\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nPDF\r\n--q--\r\n"
)
# Ids, and what tells one lease from another.
_OWN = {"id", "mailbox_id", "lease_id", "mail_id", "thread_id", "message_id", "received_at", "at", "xid"}


@pytest.fixture
async def post(shared_house: House) -> AsyncIterator[Post]:
    """Mail is stored; who parses it is up to the test."""
    async with kit_mail.accepting(shared_house) as one:
        yield one


def fresh(pending: PendingMail) -> FreshMessage:
    reading = parse_worker.read(pending.raw)
    return service.fresh_message(reading.mail, reading.extraction, AUTH, reading.extracted)


async def claimed(house: House) -> list[tuple[PendingMail, FreshMessage]]:
    now = house.clock.now()
    found = await house.db.transact(lambda tx: claim_mails(tx, now, 100, 0, 2**30))
    return [(each, fresh(each)) for each in sorted(found, key=lambda each: each.mail_id)]


async def publish(house: House, parsed: Sequence[tuple[PendingMail, FreshMessage]]) -> bool:
    now = house.clock.now()
    return await house.db.at_once(lambda tx: service.publish_at_once(tx, parsed, now))


async def rows_of(house: House, lease: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """All that a lease's mail became, without ids."""
    lease_id, found = LeaseId.parse(lease["lease_id"]), []
    for sql in (
        "SELECT * FROM messages WHERE lease_id = $1 ORDER BY seq",
        "SELECT b.* FROM messages m JOIN mail_bodies b USING (mail_id) WHERE lease_id = $1 ORDER BY seq",
        "SELECT search::text FROM messages JOIN message_search s ON message_id = id WHERE lease_id = $1 ORDER BY seq",
        "SELECT w.state, claim, claimed_until FROM messages m JOIN mails w ON w.id = m.mail_id WHERE lease_id = $1",
        "SELECT * FROM facts WHERE lease_id = $1 AND type <> 'lease.granted' ORDER BY id",
        "SELECT next_seq, next_uid FROM mailboxes m JOIN leases l ON l.mailbox_id = m.id WHERE l.id = $1",
    ):
        rows = await kit_mail.rows(house, sql, lease_id)
        found.append([{name: value for name, value in row.items() if name not in _OWN} for row in rows])
    for fact in found[4]:
        fact["payload"] = sorted(fact["payload"])
    return found


async def test_it_makes_the_same_rows_as_statement_by_statement(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    one, other = await agent.lease(), await agent.lease()
    letters = [code_mail(1), RICH, mail("Nothing", "to do here", To="x@y.example"), b"\r\n"]
    for raw in letters:
        await post.send(raw, one["address"])
    at_once = await claimed(house)
    for raw in letters:
        await post.send(raw, other["address"])
    in_turn = await claimed(house)
    now = house.clock.now()
    assert service.plain(at_once) == [True] * len(letters)
    assert await publish(house, at_once)
    assert await house.db.transact(lambda tx: service.publish_all(tx, in_turn, now)) == [True] * len(letters)
    quick, slow = await rows_of(house, one), await rows_of(house, other)
    for rows in (quick[0], slow[0]):
        assert [row.pop("size_bytes") > 0 for row in rows] == [True] * len(letters)
    for rows in (quick[1], slow[1]):
        for row in rows:
            row["headers"] = [each for each in row["headers"] if each["name"] not in ("Received", "Return-Path")]
    assert quick == slow
    assert [row["seq"] for row in quick[0]] == [1, 2, 3, 4]
    assert [row["otp_code"] for row in quick[0]] == ["481201", "481207", None, None]
    assert len(quick[4]) == 6


async def test_mails_for_several_get_their_places_in_each_mailbox(post: Post) -> None:
    house = post.house
    agent, stranger = await house.agent(), await house.agent()
    mine, theirs = await agent.lease(), await stranger.lease()
    await post.send(mail("a"), mine["address"])
    await post.send(mail("b"), mine["address"], theirs["address"])
    await post.send(mail("c"), theirs["address"])
    assert await publish(house, await claimed(house))
    await post.send(mail("d"), mine["address"], theirs["address"])
    assert await publish(house, await claimed(house))
    places = "SELECT subject, seq, uid FROM messages WHERE mailbox_id = $1 ORDER BY seq"
    for lease, subjects in ((mine, "abd"), (theirs, "bcd")):
        rows = await kit_mail.rows(house, places, MailboxId.parse(lease["mailbox_id"]))
        assert [tuple(row) for row in rows] == [(each, place, place) for place, each in enumerate(subjects, 1)]
    assert {each["mailbox_id"] for each in await messages_of(agent)} == {mine["mailbox_id"]}


async def test_a_mail_that_was_finished_keeps_the_whole_group_back(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    for number in range(2):
        await post.send(code_mail(number), lease["address"])
    both = await claimed(house)
    assert await publish(house, both[:1])
    before = await rows_of(house, lease)
    assert not await publish(house, both)
    assert await rows_of(house, lease) == before
    assert await publish(house, both[1:])
    assert not await publish(house, both[1:])
    assert len(await messages_of(agent)) == 2


async def test_a_lease_that_was_erased_keeps_the_whole_group_back(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    kept, erased = await agent.lease(), await agent.lease()
    for lease in (kept, erased):
        await post.send(code_mail(1), lease["address"])
    both = await claimed(house)
    assert (await agent.http.delete(f"/v2/mailboxes/accounts/{erased['mailbox_id']}")).status_code == 204
    assert not await publish(house, both)
    assert await messages_of(agent) == []
    now = house.clock.now()
    assert await house.db.transact(lambda tx: service.publish_all(tx, both, now)) == [True, True]
    assert [each["lease_id"] for each in await messages_of(agent)] == [kept["lease_id"]]


async def test_of_many_at_once_one_publishes_a_mail(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    leases = [await agent.lease(), await agent.lease()]
    for number in range(6):
        await post.send(code_mail(number), leases[number % 2]["address"])
    group = await claimed(house)
    told = await asyncio.gather(*(publish(house, group if turn % 2 else group[::-1]) for turn in range(8)))
    assert sorted(told) == [False] * 7 + [True]
    assert sorted(each["otp_code"] for each in await messages_of(agent)) == [f"48120{each}" for each in range(6)]


async def test_a_mail_that_comes_after_its_answer_joins_its_thread(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    lease_id = LeaseId.parse(lease["lease_id"])
    thread_id = ThreadId.new(house.clock.now())
    note = "INSERT INTO thread_references (lease_id, reference, thread_id) VALUES ($1, $2, $3)"
    await kit_mail.change(house, note, lease_id, threads.hashed("<late@shop.example>"), thread_id)
    await post.send(mail("late", message_id="<late@shop.example>"), lease["address"])
    await post.send(mail("alone", message_id="<alone@shop.example>"), lease["address"])
    await post.send(mail("nameless"), lease["address"])
    assert await publish(house, await claimed(house))
    # The same mail again, as senders do.
    await post.send(mail("again", message_id="<alone@shop.example>"), lease["address"])
    assert await publish(house, await claimed(house))
    found = {each["subject"]: each["thread_id"] for each in await messages_of(agent)}
    assert found["late"] == str(thread_id)
    assert found["again"] == found["alone"]
    assert len(set(found.values())) == 3
