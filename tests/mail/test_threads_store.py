"""Statements of threads: lists that stay as they were, summaries, labels, and races of parsers and labellers."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from leasebox.infra.db import Tx
from leasebox.mail import parse_worker, service, threads_store
from leasebox.mail.model import PendingMail, Query
from leasebox.mail.store import claim_mails
from leasebox.values.ids import LeaseId, MessageId, TenantId, ThreadId
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import Post, mail

shared_house = kit_mail.shared_house
GIB = 2**30


async def stored(post: Post, *letters: dict[str, str], to: str) -> list[PendingMail]:
    """Mails that SMTP has taken, claimed by nobody else."""
    for letter in letters:
        assert (await post.send(mail(**letter), to)).startswith("250")
    now = post.house.clock.now()
    return await post.house.db.transact(lambda tx: claim_mails(tx, now, 100, 0, GIB))


async def publish(house: House, one: PendingMail) -> bool:
    reading = parse_worker.read(one.raw)
    fresh = service.fresh_message(reading.mail, reading.extraction, service.CHECKING, reading.extracted)
    return await house.db.transact(lambda tx: service.publish(tx, one, fresh, one.received_at))


def query_of(house: House, agent: Agent, **criteria: Any) -> Query:
    tenant_id = TenantId.parse(agent.session["tenant_id"])
    return Query(tenant_id=tenant_id, within=None, at=house.clock.now(), retention=timedelta(hours=72), **criteria)


async def subjects(house: House, query: Query, below: UUID | None = None, upto: UUID | None = None) -> list[str]:
    """The subject of each thread's newest message, in the order of the list."""

    async def body(tx: Tx) -> list[str]:
        heads = await threads_store.listed(tx, query, below, upto, 100)
        return [await tx.value("SELECT subject FROM messages WHERE id = $1", each["id"]) for each in heads]

    return await house.db.read(body)


async def test_mails_of_one_thread_that_come_at_once_meet(shared_house: House) -> None:
    """Published by six parsers at the same moment, the answers first."""
    agent = await shared_house.agent()
    first = {"subject": "Lunch", "message_id": "<1@shop.example>"}
    answers = [
        {"subject": "Re: Lunch", "in_reply_to": "<1@shop.example>", "message_id": f"<{number}@shop.example>"}
        for number in range(2, 7)
    ]
    async with kit_mail.accepting(shared_house) as post:
        for _ in range(8):
            lease = await agent.lease()
            pending = await stored(post, first, *answers, to=lease["address"])
            assert len(pending) == 6
            assert all(await asyncio.gather(*(publish(shared_house, one) for one in reversed(pending))))
            found = await kit_mail.rows(
                shared_house,
                "SELECT DISTINCT thread_id FROM messages WHERE lease_id = $1",
                LeaseId.parse(lease["lease_id"]),
            )
            assert len(found) == 1


async def test_a_list_read_page_by_page_stays_as_it_was(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    letters = [{"subject": f"thread {number}", "message_id": f"<{number}@x.example>"} for number in range(4)]
    query = query_of(shared_house, agent)
    async with kit_mail.accepting(shared_house) as post:
        for one in await stored(post, *letters, to=lease["address"]):
            assert await publish(shared_house, one)
        assert await subjects(shared_house, query) == [f"thread {number}" for number in (3, 2, 1, 0)]
        heads = await shared_house.db.read(lambda tx: threads_store.listed(tx, query, None, None, 2))
        newest, last = heads[0]["id"], heads[1]["id"]
        more = [
            {"subject": "Re: thread 0", "in_reply_to": "<0@x.example>"},
            {"subject": "Re: thread 3", "in_reply_to": "<3@x.example>"},
            {"subject": "thread 4"},
        ]
        for one in await stored(post, *more, to=lease["address"]):
            assert await publish(shared_house, one)
    assert await subjects(shared_house, query, last, newest) == ["thread 1", "thread 0"]
    assert await subjects(shared_house, query, None, newest) == [f"thread {number}" for number in (3, 2, 1, 0)]
    assert await subjects(shared_house, query) == ["thread 4", "Re: thread 3", "Re: thread 0", "thread 2", "thread 1"]


async def test_labels_of_a_thread_are_those_of_its_messages_together(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    letters = [{"subject": "a", "message_id": "<1@x.example>"}, {"subject": "b", "in_reply_to": "<1@x.example>"}]
    async with kit_mail.accepting(shared_house) as post:
        pending = await stored(post, *letters, {"subject": "other"}, to=lease["address"])
        for one in pending:
            assert await publish(shared_house, one)
    first, second = pending[0].recipients[0].message_id, pending[1].recipients[0].message_id
    await agent.http.patch(f"/v2/messages/{first}", json={"add_labels": ["red"], "remove_labels": ["unread"]})
    await agent.http.patch(f"/v2/messages/{second}", json={"add_labels": ["blue"]})
    for labels, expected in (
        ((), ["other", "b"]),
        (("red",), ["b"]),
        (("red", "blue"), ["b"]),
        (("red", "unread", "received"), ["b"]),
        (("red", "green"), []),
        (("unread",), ["other", "b"]),
    ):
        assert await subjects(shared_house, query_of(shared_house, agent, labels=labels)) == expected


async def test_summaries_count_and_participants_are_named_once(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    letters = [
        {"subject": "a", "message_id": "<1@x.example>", "From": "ada@x.example", "To": "Bob <bob@x.example>"},
        {"subject": "b", "in_reply_to": "<1@x.example>", "From": "Ada L. <ADA@x.example>", "To": "bob@x.example"},
    ]
    async with kit_mail.accepting(shared_house) as post:
        pending = await stored(post, *letters, to=lease["address"])
        for one in pending:
            assert await publish(shared_house, one)
    tenant_id = TenantId.parse(agent.session["tenant_id"])
    (head,) = await shared_house.db.read(
        lambda tx: threads_store.listed(tx, query_of(shared_house, agent), None, None, 10)
    )
    thread_id = ThreadId.of(head["thread_id"])
    rows = await shared_house.db.read(lambda tx: threads_store.summaries(tx, tenant_id, [thread_id]))
    row = rows[thread_id]
    assert (row["message_count"], row["unread_count"], row["sent_count"]) == (2, 2, 0)
    assert (row["subject"], row["preview"]) == ("a", "Hello there.")
    assert MessageId.of(row["last_message_id"]) == pending[1].recipients[0].message_id
    assert row["size_bytes"] == sum(len(one.raw) for one in pending)
    people = await shared_house.db.read(lambda tx: threads_store.participants(tx, tenant_id, [thread_id]))
    assert [(each["name"], each["address"].lower()) for each in people[thread_id]] == [
        ("Ada L.", "ada@x.example"),
        ("Bob", "bob@x.example"),
    ]
    other = TenantId.new(shared_house.clock.now())
    assert await shared_house.db.read(lambda tx: threads_store.summaries(tx, other, [thread_id])) == {}
    assert await shared_house.db.read(lambda tx: threads_store.participants(tx, other, [thread_id])) == {}
    assert await shared_house.db.read(lambda tx: threads_store.head(tx, other, thread_id)) is None
    assert await shared_house.db.transact(lambda tx: threads_store.label(tx, other, thread_id, ["x"], [])) is None


async def test_labels_given_at_once_are_all_there(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    letters = [{"subject": "a", "message_id": "<1@x.example>"}, {"subject": "b", "in_reply_to": "<1@x.example>"}]
    async with kit_mail.accepting(shared_house) as post:
        pending = await stored(post, *letters, to=lease["address"])
        for one in pending:
            assert await publish(shared_house, one)
    thread = (await agent.http.get("/v2/threads")).json()["items"][0]["thread_id"]
    whole = [agent.http.patch(f"/v2/threads/{thread}", json={"add_labels": [f"t{number}"]}) for number in range(8)]
    single = [
        agent.http.patch(f"/v2/messages/{one.recipients[0].message_id}", json={"add_labels": [f"m{number}"]})
        for number, one in enumerate(pending)
    ]
    assert await kit_mail.statuses([*whole, *single]) == [200] * 10
    (now,) = (await agent.http.get("/v2/threads")).json()["items"]
    assert set(now["labels"]) == {"received", "unread", "m0", "m1", *(f"t{number}" for number in range(8))}
    assert msgspec.json.encode(now)


@pytest.mark.parametrize("few", [0, 1, 500])
async def test_a_label_finds_the_same_threads_whether_it_is_rare_or_common(
    shared_house: House, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(threads_store, "_FEW", few)
    agent = await shared_house.agent()
    lease = await agent.lease()
    async with kit_mail.receiving(shared_house) as post:
        for number in range(4):
            (message_id,) = await post.deliver(mail(f"letter {number}"), lease["address"])
            add = [["a"], ["a", "b"], ["b"], []][number]
            answer = await agent.http.patch(f"/v2/messages/{message_id}", json={"add_labels": add})
            assert answer.status_code == 200
    for labels, wanted in ((["a"], "10"), (["b"], "21"), (["a", "b"], "1"), (["none"], ""), (["unread", "b"], "21")):
        found = await subjects(shared_house, query_of(shared_house, agent, labels=tuple(labels)))
        assert found == [f"letter {each}" for each in wanted], labels
