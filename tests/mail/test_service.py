"""Verbs of mail: what a parsed mail becomes, publishing all or nothing, where a reader stands."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from leasebox.infra.db import Tx
from leasebox.mail import parse_worker, service
from leasebox.mail.model import FreshMessage, PendingMail
from leasebox.mail.store import claim_mails
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import Post, code_mail, mail, messages_of

shared_house = kit_mail.shared_house
AUTH = {"spf": "none", "dkim": "none", "dmarc": "none"}
GIB = 2**30


@pytest.fixture
async def post(shared_house: House) -> AsyncIterator[Post]:
    """Mail is stored; who parses it is up to the test."""
    async with kit_mail.accepting(shared_house) as one:
        yield one


def fresh(raw: bytes) -> FreshMessage:
    reading = parse_worker.read(raw)
    return service.fresh_message(reading.mail, reading.extraction, AUTH)


async def claimed(house: House) -> PendingMail:
    now = house.clock.now()
    (pending,) = await house.db.transact(lambda tx: claim_mails(tx, now, 2, 0, GIB))
    return pending


async def publish(house: House, pending: PendingMail) -> bool:
    found, now = fresh(pending.raw), house.clock.now()
    return await house.db.transact(lambda tx: service.publish(tx, pending, found, now))


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (code_mail(1), "parsed"),
        (mail("Verify", "Confirm your address: https://shop.example/verify?token=Zx81kQ0aTT9"), "parsed"),
        (mail("Hello", "Nothing to do here."), "none"),
        (b"\r\n", "none"),
    ],
)
def test_the_status_says_whether_there_is_something_to_do(raw: bytes, status: str) -> None:
    found = fresh(raw)
    assert found.parsed_status == status
    assert (found.otp_code or found.verification_link) is None or status == "parsed"


def test_what_could_not_be_read_is_failed_and_keeps_its_header() -> None:
    reading = parse_worker.unreadable(mail("Legible", "Your code is 123456"), "parser_died")
    found = service.fresh_message(reading.mail, reading.extraction, AUTH)
    assert (found.parsed_status, found.subject, found.text, found.otp_code) == ("failed", "Legible", "", None)


def test_a_mail_refers_to_the_nearest_first() -> None:
    raw = mail(references="<1@x.example> <2@x.example>", in_reply_to="<2@x.example>", message_id="<3@x.example>")
    found = fresh(raw)
    assert (found.related, found.header_message_id) == (("<2@x.example>", "<1@x.example>"), "<3@x.example>")
    assert fresh(mail(in_reply_to="<9@x.example>")).related == ("<9@x.example>",)
    assert fresh(mail()).related == ()


async def test_message_body_and_facts_are_one_transaction(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    await post.send(code_mail(2), lease["address"])
    assert await publish(house, await claimed(house))
    written = await kit_mail.rows(
        house,
        "SELECT f.type, f.payload, f.xid::text AS fact_xid, m.xmin::text AS message_xid, b.xmin::text AS body_xid"
        " FROM facts f JOIN messages m ON m.lease_id = f.lease_id JOIN mail_bodies b ON b.mail_id = m.mail_id"
        " WHERE f.lease_id = $1 AND f.type IN ('message.received', 'otp.extracted') ORDER BY f.type",
        LeaseId.parse(lease["lease_id"]),
    )
    (message,) = await messages_of(agent)
    assert [row["type"] for row in written] == ["message.received", "otp.extracted"]
    for row in written:
        assert row["fact_xid"] == row["message_xid"] == row["body_xid"]
        assert row["payload"]["message_id"] == message["message_id"]
        assert "481202" not in str(row["payload"])


async def test_a_publish_that_fails_shows_nothing_and_can_be_done_again(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    await post.send(code_mail(3), lease["address"])
    pending = await claimed(house)

    async def fail(tx: Tx, happened: Any) -> None:
        raise RuntimeError("no facts")

    with monkeypatch.context() as patched:
        patched.setattr(service, "append", fail)
        with pytest.raises(RuntimeError):
            await publish(house, pending)
    assert await messages_of(agent) == []
    assert await publish(house, pending)
    assert [each["otp_code"] for each in await messages_of(agent)] == ["481203"]


async def test_of_two_publishers_one_is_first(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    await post.send(code_mail(4), lease["address"])
    pending = await claimed(house)
    assert [await publish(house, pending), await publish(house, pending)] == [True, False]
    assert len(await messages_of(agent)) == 1


async def test_a_code_mail_has_two_facts_and_any_other_one(post: Post) -> None:
    house = post.house
    lease = await (await house.agent()).lease()
    for raw in (code_mail(5), mail("plain")):
        await post.send(raw, lease["address"])
        await publish(house, await claimed(house))
    found = await kit_mail.rows(
        house, "SELECT type FROM facts WHERE lease_id = $1 ORDER BY type", LeaseId.parse(lease["lease_id"])
    )
    types = [row["type"] for row in found if row["type"] in ("message.received", "otp.extracted")]
    assert types == ["message.received", "message.received", "otp.extracted"]


async def test_erased_lessees_get_nothing_and_a_mail_for_nobody_is_forgotten(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    kept, erased = await agent.lease(), await agent.lease()
    await post.send(mail("for one"), kept["address"], erased["address"])
    first = await claimed(house)
    await post.send(mail("for nobody"), erased["address"])
    second = await claimed(house)
    mark = "UPDATE leases SET purged_at = started_at WHERE id = $1"
    await kit_mail.change(house, mark, LeaseId.parse(erased["lease_id"]))
    assert [await publish(house, first), await publish(house, second)] == [True, True]
    assert [each["lease_id"] for each in await messages_of(agent)] == [kept["lease_id"]]
    left = "SELECT count(*) FROM mails WHERE id = ANY ($1)"
    assert await kit_mail.value(house, left, [first.mail_id, second.mail_id]) == 1
    facts = "SELECT count(*) FROM facts WHERE lease_id = $1 AND type = 'message.received'"
    assert await kit_mail.value(house, facts, LeaseId.parse(erased["lease_id"])) == 0


async def test_a_group_is_published_in_its_order_each_mail_in_its_thread(post: Post) -> None:
    house = post.house
    agent, other = await house.agent(), await house.agent()
    lease, theirs = await agent.lease(), await other.lease()
    both = (lease["address"], theirs["address"])
    await post.send(mail("one", message_id="<1@shop.example>"), lease["address"])
    await post.send(mail("two", message_id="<2@shop.example>"), *both)
    await post.send(mail("Re: one", message_id="<3@shop.example>", in_reply_to="<1@shop.example>"), lease["address"])
    await post.send(mail("four", message_id="<4@shop.example>", references="<3@shop.example>"), *both)
    now = house.clock.now()
    group = await house.db.transact(lambda tx: claim_mails(tx, now, 10, 0, GIB))
    assert await publish(house, group[1])
    pairs = [(each, fresh(each.raw)) for each in sorted(group, key=lambda each: each.mail_id)]
    assert await house.db.transact(lambda tx: service.publish_all(tx, pairs, now)) == [True, False, True, True]
    places = "SELECT subject, seq, uid FROM messages WHERE mailbox_id = $1 ORDER BY seq"
    mailbox_id = MailboxId.parse(lease["mailbox_id"])
    mine = await kit_mail.rows(house, places, mailbox_id)
    assert [tuple(row) for row in mine] == [("two", 1, 1), ("one", 2, 2), ("Re: one", 3, 3), ("four", 4, 4)]
    threads = {each["subject"]: each["thread_id"] for each in await messages_of(agent)}
    assert threads["one"] == threads["Re: one"] == threads["four"] != threads["two"]
    assert len({each["thread_id"] for each in await messages_of(other)}) == 2
    assert await kit_mail.value(house, "SELECT next_uid FROM mailboxes WHERE id = $1", mailbox_id) == 5


@pytest.mark.parametrize(
    ("letters", "told"),
    [
        ([mail("one"), mail("two")], [True, True]),
        ([mail("one", message_id="<1@x.example>"), mail("two", message_id="<2@x.example>")], [True, True]),
        ([mail("one", message_id="<1@x.example>"), mail("again", message_id="<1@x.example>")], [True, False]),
        ([mail("one", message_id="<1@x.example>"), mail("two", in_reply_to="<1@x.example>")], [True, False]),
        ([mail("two", references="<1@x.example>"), mail("one", message_id="<1@x.example>")], [False, True]),
        ([mail("Re: one"), mail("one")], [False, True]),
    ],
    ids=["nameless", "named", "the same twice", "an answer", "answered before", "an answer by its subject"],
)
async def test_what_refers_to_another_mail_is_not_plain(post: Post, letters: list[bytes], told: list[bool]) -> None:
    lease = await (await post.house.agent()).lease()
    for raw in letters:
        await post.send(raw, lease["address"])
    now = post.house.clock.now()
    group = await post.house.db.transact(lambda tx: claim_mails(tx, now, 10, 0, GIB))
    parsed = [(each, fresh(each.raw)) for each in sorted(group, key=lambda each: each.mail_id)]
    assert service.plain(parsed) == told
    nobodys = [(msgspec.structs.replace(each, recipients=()), found) for each, found in parsed]
    assert not any(service.plain(nobodys))
    bounces = [(each, msgspec.structs.replace(found, labels=("bounce",))) for each, found in parsed]
    assert not any(service.plain(bounces))


async def stands(agent: Agent, house: House, mailbox_id: str, last: str | None = None, since: Any = None) -> int:
    tenant, mailbox = TenantId.parse(agent.session["tenant_id"]), MailboxId.parse(mailbox_id)
    seen = None if last is None else MessageId.parse(last)
    return await house.db.read(lambda tx: service.place_after(tx, tenant, mailbox, seen, since))


async def test_a_reader_stands_behind_what_it_has_seen(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease, other = await agent.lease(), await agent.lease()
    box = lease["mailbox_id"]
    assert await stands(agent, house, box) == 0
    for number in range(3):
        await post.send(code_mail(number), lease["address"])
        await publish(house, await claimed(house))
    newest, middle, oldest = [each["message_id"] for each in await messages_of(agent)]
    assert [await stands(agent, house, box, each) for each in (oldest, middle, newest)] == [1, 2, 3]
    assert await stands(agent, house, box) == 3
    assert await stands(agent, house, box, since=house.clock.now()) == 0
    assert await stands(agent, house, other["mailbox_id"], newest) == 0
    assert (await agent.http.delete(f"/v2/messages/{middle}")).status_code == 204
    assert await stands(agent, house, box, middle) == 0


async def test_reading_verbs_refuse_for_strangers(post: Post) -> None:
    house = post.house
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease()
    await post.send(mail(), lease["address"])
    await publish(house, await claimed(house))
    (message,) = await messages_of(agent)
    path = f"/v2/messages/{message['message_id']}"
    calls = [
        other.http.get(path),
        other.http.get(f"{path}/raw"),
        other.http.patch(path, json={"add_labels": ["x"]}),
        other.http.delete(path),
    ]
    assert await kit_mail.statuses(calls) == [404] * 4
    assert (await agent.http.get(path)).json()["labels"] == ["received", "unread"]
