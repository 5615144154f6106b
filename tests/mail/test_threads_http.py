"""Threads over the routes: lists and pages, one thread with its messages, labels, refusals, and who may not."""

from typing import Any

import pytest

from leasebox.values.ids import LeaseId
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import Post, mail

shared_house = kit_mail.shared_house
post = kit_mail.shared_post
LIST = "/v2/threads"
ADA = "Ada <ada@shop.example>"
ANSWER = "Yes, at one.\n\nOn Mon, Mar 2, 2026 at 10:01 AM Bob <bob@x.example> wrote:\n> Lunch?"


async def talk(post: Post, address: str, count: int = 2, subject: str = "Lunch") -> list[str]:
    """A thread of so many mails; their ids, the oldest first."""
    found = await post.deliver(mail(subject, "Lunch?", From=ADA, message_id=f"<{subject}@x.example>"), address)
    for number in range(1, count):
        raw = mail(f"Re: {subject}", ANSWER, From=ADA, in_reply_to=f"<{subject}@x.example>", date=f"{number}")
        found += await post.deliver(raw, address)
    return found


async def listed(agent: Agent, **query: Any) -> list[dict[str, Any]]:
    answer = await agent.http.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def limited_key(agent: Agent, lease: dict[str, Any], scope: str = "mail:read") -> dict[str, str]:
    order = {"name": "k", "scopes": [scope], "mailbox_ids": [lease["mailbox_id"]]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    return {"authorization": f"Bearer {key}"}


async def test_a_list_shows_what_a_thread_is(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    first, second = await talk(post, lease["address"])
    (item,) = await listed(agent)
    assert (item["mailbox_id"], item["lease_id"]) == (lease["mailbox_id"], lease["lease_id"])
    assert (item["subject"], item["preview"][:12]) == ("Lunch", "Yes, at one.")
    assert (item["message_count"], item["unread_count"], item["sent_count"]) == (2, 2, 0)
    assert item["participants"] == [{"name": "Ada", "address": "ada@shop.example"}]
    assert item["labels"] == ["received", "unread"]
    assert item["last_message_id"] == second != first
    assert item["started_at"] < item["last_message_at"]
    messages = (await agent.http.get("/v2/messages", params={"thread_id": item["thread_id"]})).json()["items"]
    assert [each["message_id"] for each in messages] == [second, first]


async def test_the_newest_activity_comes_first_and_filters_narrow(post: Post) -> None:
    agent = await post.house.agent()
    one, two = await agent.lease(), await agent.lease()
    await talk(post, one["address"], 1, "Lunch")
    await talk(post, two["address"], 1, "Dinner")
    assert [each["subject"] for each in await listed(agent)] == ["Dinner", "Lunch"]
    await post.deliver(mail("Re: Lunch", From=ADA), one["address"])
    lunch, dinner = await listed(agent)
    assert (lunch["subject"], dinner["subject"]) == ("Lunch", "Dinner")
    assert [each["subject"] for each in await listed(agent, mailbox_id=two["mailbox_id"])] == ["Dinner"]
    await agent.http.patch(f"{LIST}/{dinner['thread_id']}", json={"add_labels": ["food"], "remove_labels": ["unread"]})
    assert [each["subject"] for each in await listed(agent, label="unread")] == ["Lunch"]
    assert [each["subject"] for each in await listed(agent, label=["food", "received"])] == ["Dinner"]
    assert await listed(agent, label=["food", "unread"]) == []


async def test_pages_hold_each_thread_once_whatever_comes_in(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    for number in range(5):
        await talk(post, lease["address"], 1, f"thread {number}")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await agent.http.get(LIST, params=query)).json()
        seen += [each["subject"] for each in page["items"]]
        await post.deliver(mail("Re: thread 0", From=ADA), lease["address"])
        await post.deliver(mail("Re: thread 4", From=ADA), lease["address"])
        await post.deliver(mail(f"fresh {len(seen)}"), lease["address"])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [f"thread {number}" for number in (4, 3, 2, 1, 0)]


async def test_one_thread_shows_its_messages_the_oldest_first_with_what_is_new(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    ids = await talk(post, lease["address"], 3)
    (item,) = await listed(agent)
    whole = (await agent.http.get(f"{LIST}/{item['thread_id']}")).json()
    assert {name: whole[name] for name in item} == item
    assert [each["message_id"] for each in whole["messages"]] == ids
    assert [each["extracted_text"].strip() for each in whole["messages"]] == ["Lunch?", "Yes, at one.", "Yes, at one."]
    assert [each["is_cut"] for each in whole["messages"]] == [False] * 3
    assert whole["next_cursor"] is None
    read: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await agent.http.get(f"{LIST}/{item['thread_id']}", params=query)).json()
        read += [each["message_id"] for each in page["messages"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert read == ids
    single = (await agent.http.get(f"/v2/messages/{ids[1]}")).json()
    assert (single["extracted_text"], "Bob" in single["text"]) == ("Yes, at one.", True)


async def test_a_thread_shows_the_beginning_of_a_long_text(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await post.deliver(mail("Long", "word " * 4_000), lease["address"])
    (item,) = await listed(agent)
    (message,) = (await agent.http.get(f"{LIST}/{item['thread_id']}")).json()["messages"]
    assert (len(message["extracted_text"]), message["is_cut"]) == (10_000, True)


async def test_labels_of_a_whole_thread_come_and_go(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    ids = await talk(post, lease["address"], 2)
    (item,) = await listed(agent)
    path = f"{LIST}/{item['thread_id']}"
    done = await agent.http.patch(path, json={"add_labels": ["done", "a:b"], "remove_labels": ["unread"]})
    assert (done.status_code, done.json()["labels"], done.json()["unread_count"]) == (
        200,
        ["a:b", "done", "received"],
        0,
    )
    for each in ids:
        assert (await agent.http.get(f"/v2/messages/{each}")).json()["labels"] == ["a:b", "done", "received"]
    await post.deliver(mail("Re: Lunch", From=ADA), lease["address"])
    (item,) = await listed(agent)
    assert (item["labels"], item["unread_count"]) == (["a:b", "done", "received", "unread"], 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"add_labels": ["Upper"]}, 400),
        ({"add_labels": ["x" * 51]}, 400),
        ({"add_labels": ["x"] * 21}, 400),
        ({"labels": ["x"]}, 400),
        ([], 400),
    ],
)
async def test_labels_that_are_none(post: Post, body: Any, status: int) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"], 1)
    (item,) = await listed(agent)
    assert (await agent.http.patch(f"{LIST}/{item['thread_id']}", json=body)).status_code == status


async def test_a_thread_has_no_room_for_more_labels_than_a_message(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    ids = await talk(post, lease["address"], 2)
    for start in range(0, 80, 20):
        labels = [f"l{number}" for number in range(start, start + 20)]
        await agent.http.patch(f"/v2/messages/{ids[0]}", json={"add_labels": labels})
    (item,) = await listed(agent)
    answer = await agent.http.patch(f"{LIST}/{item['thread_id']}", json={"add_labels": [f"m{n}" for n in range(20)]})
    assert (answer.status_code, answer.json()["error"]) == (422, "unprocessable")
    assert len((await agent.http.get(f"/v2/messages/{ids[1]}")).json()["labels"]) == 2


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 400),
        ("limit=101", 400),
        ("cursor=x", 400),
        ("cursor=" + "A" * 22, 400),
        ("cursor=" + "A" * 43, 200),
        ("label=", 400),
        ("label=%00", 400),
        ("label=" + "x" * 51, 400),
        ("&".join(f"label=l{number}" for number in range(11)), 400),
        ("label=a&label=b", 200),
        ("mailbox_id=mbx_1", 404),
        ("mailbox_id=mbx_00000000000000000000000000", 404),
        ("unknown=1", 200),
    ],
)
async def test_queries_and_what_is_none(shared_house: House, query: str, status: int) -> None:
    agent = await shared_house.agent()
    assert (await agent.http.get(f"{LIST}?{query}")).status_code == status


@pytest.mark.parametrize(
    "thread_id", ["thr_1", "msg_00000000000000000000000000", "thr_00000000000000000000000000", "x"]
)
async def test_threads_that_are_none_are_404(shared_house: House, thread_id: str) -> None:
    agent = await shared_house.agent()
    for answer in (
        await agent.http.get(f"{LIST}/{thread_id}"),
        await agent.http.patch(f"{LIST}/{thread_id}", json={"add_labels": ["x"]}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("cursor", ["x", "A" * 43])
async def test_a_thread_refuses_cursors_of_others(post: Post, cursor: str) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"], 1)
    (item,) = await listed(agent)
    assert (await agent.http.get(f"{LIST}/{item['thread_id']}", params={"cursor": cursor})).status_code == 400


async def test_another_tenants_thread_looks_like_none(post: Post) -> None:
    agent, stranger = await post.house.agent(), await post.house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"])
    (item,) = await listed(agent)
    path = f"{LIST}/{item['thread_id']}"
    assert await listed(stranger) == []
    assert (await stranger.http.get(LIST, params={"mailbox_id": lease["mailbox_id"]})).status_code == 404
    assert (await stranger.http.get(path)).status_code == 404
    assert (await stranger.http.patch(path, json={"add_labels": ["x"]})).status_code == 404
    assert (await listed(agent))[0]["labels"] == ["received", "unread"]


async def test_a_key_limited_to_one_mailbox_sees_only_its_threads(post: Post) -> None:
    agent = await post.house.agent()
    one, two = await agent.lease(), await agent.lease()
    await talk(post, one["address"], 1, "mine")
    await talk(post, two["address"], 1, "not mine")
    theirs, _ = await listed(agent)
    async with post.house.client(await limited_key(agent, one)) as http:
        assert [each["subject"] for each in (await http.get(LIST)).json()["items"]] == ["mine"]
        assert (await http.get(f"{LIST}/{theirs['thread_id']}")).status_code == 404
        assert (await http.patch(f"{LIST}/{theirs['thread_id']}", json={"add_labels": ["x"]})).status_code == 404
        assert (await http.get(LIST, params={"mailbox_id": two["mailbox_id"]})).status_code == 404


async def test_threads_ask_for_the_scope_of_reading(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"], 1)
    (item,) = await listed(agent)
    order = {"name": "k", "scopes": ["mail:send"]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with post.house.client({"authorization": f"Bearer {key}"}) as http:
        for answer in (
            await http.get(LIST),
            await http.get(f"{LIST}/{item['thread_id']}"),
            await http.patch(f"{LIST}/{item['thread_id']}", json={"add_labels": ["x"]}),
        ):
            assert (answer.status_code, answer.json()["error"]) == (403, "missing_scope")
    async with post.house.client() as nobody:
        assert (await nobody.get(LIST)).status_code == 401


async def test_paused_frozen_and_ended_mailboxes_show_threads_as_they_show_messages(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"], 1)
    (item,) = await listed(agent)
    path, verbs = f"{LIST}/{item['thread_id']}", f"/v2/mailboxes/leases/{lease['lease_id']}"

    async def looks() -> list[tuple[int, str]]:
        answers = [
            await agent.http.get(path),
            await agent.http.patch(path, json={"add_labels": ["x"]}),
            await agent.http.get(LIST, params={"mailbox_id": lease["mailbox_id"]}),
        ]
        return [(each.status_code, each.json().get("error", "")) for each in answers]

    await agent.http.post(f"{verbs}/pause")
    assert await looks() == [(403, "mailbox_paused")] * 3
    assert await listed(agent) == []
    await agent.http.post(f"{verbs}/resume")
    assert await looks() == [(200, "")] * 3
    await agent.http.post(f"{verbs}/release")
    assert await looks() == [(200, "")] * 3
    house.clock.advance(hours=73)
    agent = await house.agent(agent.wallet)
    assert await listed(agent) == []
    assert (await agent.http.get(path)).status_code == 404


async def test_a_frozen_mailbox_shows_no_thread(post: Post) -> None:
    house = post.house
    agent = await house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"], 1)
    (item,) = await listed(agent)
    frozen, lease_id = "UPDATE leases SET frozen_at = $2 WHERE id = $1", LeaseId.parse(lease["lease_id"])
    await kit_mail.change(house, frozen, lease_id, house.clock.now())
    answer = await agent.http.get(f"{LIST}/{item['thread_id']}")
    assert (answer.status_code, answer.json()["error"]) == (403, "mailbox_frozen")
    assert await listed(agent) == []


async def test_reading_threads_costs_nothing(post: Post) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await talk(post, lease["address"], 1)
    before = (await agent.http.get("/v2/usage/events")).json()["items"]
    (item,) = await listed(agent)
    await agent.http.get(f"{LIST}/{item['thread_id']}")
    assert (await agent.http.get("/v2/usage/events")).json()["items"] == before
