"""Mailboxes over the routes: list, change, reset credentials, erase."""

import asyncio
from typing import Any

import pytest

from leasebox.leases.passwords import matches
from leasebox.values.ids import MailboxId
from leasebox.values.secret import Secret
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import Post, code_mail, messages_of

house = kit_mail.shared_house
shared_house = kit_mail.shared_house
post = kit_mail.shared_post
ROUTES = "/v2/mailboxes/accounts"


async def stored_hash(house: House, lease: dict[str, Any]) -> str:
    found = "SELECT password_hash FROM leases WHERE mailbox_id = $1 ORDER BY id DESC LIMIT 1"
    return str(await kit_mail.value(house, found, MailboxId.parse(lease["mailbox_id"])))


async def reset(agent: Agent, lease: dict[str, Any]) -> Any:
    return await agent.http.post(f"{ROUTES}/{lease['mailbox_id']}/credentials/reset")


async def test_a_mailbox_shows_its_latest_lease(shared_house: House) -> None:
    agent = await shared_house.agent()
    old = await agent.lease(local_part="latest")
    await agent.http.post(f"/v2/mailboxes/leases/{old['lease_id']}/release")
    new = await agent.lease(local_part="latest", metadata={"lease": "second"})
    shown = (await agent.http.get(f"{ROUTES}/{old['account_id']}")).json()
    assert (shown["account_id"], shown["mailbox_id"]) == (old["mailbox_id"], old["mailbox_id"])
    assert (shown["address"], shown["display_name"], shown["metadata"]) == (old["address"], None, {})
    assert (shown["lease"]["lease_id"], shown["lease"]["metadata"]) == (new["lease_id"], {"lease": "second"})
    assert [each["mailbox_id"] for each in (await agent.http.get(ROUTES)).json()["items"]] == [old["mailbox_id"]]


async def test_it_counts_what_the_mailbox_has_sent(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease, quiet = await agent.lease(), await agent.lease()
    message = {"mailbox_id": lease["mailbox_id"], "to": ["a@b.example", "c@d.example"], "text": "x"}
    assert (await agent.http.post("/v2/messages/send", json=message)).status_code == 202
    counted = {"sends_today": 2, "total_sent": 2, "bounce_count": 0, "complaint_count": 0, "daily_send_limit": 10_000}
    changed = (await agent.http.patch(f"{ROUTES}/{lease['account_id']}", json={"display_name": "Otter"})).json()
    items = {each["mailbox_id"]: each for each in (await agent.http.get(ROUTES)).json()["items"]}
    for shown in (changed, items[lease["mailbox_id"]]):
        assert {name: shown[name] for name in counted} == counted
    assert {items[quiet["mailbox_id"]][name] for name in ("sends_today", "total_sent")} == {0}


async def test_the_list_has_pages(shared_house: House) -> None:
    agent = await shared_house.agent()
    made = [(await agent.lease())["mailbox_id"] for _ in range(3)]
    first = (await agent.http.get(ROUTES, params={"limit": 2})).json()
    await agent.lease()
    second = (await agent.http.get(ROUTES, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["mailbox_id"] for each in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"display_name": "Otter"}, {"display_name": "Otter", "metadata": {"a": 1}}),
        ({"display_name": None}, {"display_name": None, "metadata": {"a": 1}}),
        ({"metadata": {"b": [2]}}, {"display_name": "Before", "metadata": {"b": [2]}}),
        ({"metadata": {}}, {"display_name": "Before", "metadata": {}}),
        ({}, {"display_name": "Before", "metadata": {"a": 1}}),
    ],
)
async def test_only_what_is_sent_changes(
    shared_house: House, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    agent = await shared_house.agent()
    path = f"{ROUTES}/{(await agent.lease())['mailbox_id']}"
    await agent.http.patch(path, json={"display_name": "Before", "metadata": {"a": 1}})
    answer = await agent.http.patch(path, json=changes)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in expected} == expected
    assert (await agent.http.get(path)).json() == answer.json()


@pytest.mark.parametrize(
    "changes",
    [
        {"display_name": "x" * 101},
        {"display_name": 5},
        {"metadata": None},
        {"metadata": {"x": "y" * 8192}},
        {"name": 1},
    ],
)
async def test_changes_that_are_none(shared_house: House, changes: dict[str, Any]) -> None:
    agent = await shared_house.agent()
    answer = await agent.http.patch(f"{ROUTES}/{(await agent.lease())['mailbox_id']}", json=changes)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


async def test_passwords_are_kept_as_argon2id_and_the_old_one_stops(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    old = Secret(lease["webmail_password"])
    before = await stored_hash(shared_house, lease)
    assert before.startswith("$argon2id$")
    assert matches(before, old)
    answer = await reset(agent, lease)
    assert (answer.status_code, answer.json()["webmail_login"]) == (200, lease["address"])
    after = await stored_hash(shared_house, lease)
    assert matches(after, Secret(answer.json()["webmail_password"]))
    assert not matches(after, old)
    stored = await kit_mail.rows(shared_house, "SELECT leases::text AS line FROM leases")
    audit = await kit_mail.rows(shared_house, "SELECT audit_rows::text AS line FROM audit_rows")
    assert answer.json()["webmail_password"] not in str(stored) + str(audit)


async def test_of_several_resets_at_once_one_password_counts(shared_house: House) -> None:
    agent = await shared_house.agent()
    other = await shared_house.agent(agent.wallet)
    lease = await agent.lease()
    answers = await asyncio.gather(*(reset(each, lease) for each in (agent, other) * 5))
    assert {answer.status_code for answer in answers} == {200}
    stored = await stored_hash(shared_house, lease)
    assert [matches(stored, Secret(each.json()["webmail_password"])) for each in answers].count(True) == 1


async def test_credentials_need_a_live_lease(shared_house: House) -> None:
    agent = await shared_house.agent()
    paused, released = await agent.lease(), await agent.lease()
    await agent.http.post(f"/v2/mailboxes/leases/{paused['lease_id']}/pause")
    await agent.http.post(f"/v2/mailboxes/leases/{released['lease_id']}/release")
    before = await stored_hash(shared_house, released)
    assert (await reset(agent, paused)).status_code == 200
    answer = await reset(agent, released)
    assert (answer.status_code, answer.json()["error"]) == (410, "lease_ended")
    assert await stored_hash(shared_house, released) == before


async def test_mailboxes_of_another_tenant_look_like_none(shared_house: House) -> None:
    agent, other = await shared_house.agent(), await shared_house.agent()
    path = f"{ROUTES}/{(await agent.lease())['mailbox_id']}"
    answers = [
        await other.http.get(path),
        await other.http.patch(path, json={"display_name": "x"}),
        await other.http.delete(path),
        await other.http.post(f"{path}/credentials/reset"),
        await other.http.get(f"{ROUTES}/{MailboxId.new(shared_house.clock.now())}"),
        await other.http.get(f"{ROUTES}/mbx_nonsense"),
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "not_found")}
    assert (await agent.http.get(path)).json()["lease"]["lease_status"] == "active"
    assert (await other.http.get(ROUTES)).json()["items"] == []


async def test_a_repeated_reset_gives_the_same_password(shared_house: House) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    path, key = f"{ROUTES}/{lease['mailbox_id']}/credentials/reset", {"idempotency-key": "once"}
    first, second = [await agent.http.post(path, headers=key) for _ in range(2)]
    assert (first.status_code, second.headers["idempotent-replayed"]) == (200, "true")
    assert first.json() == second.json()
    assert first.json()["webmail_password"] != (await reset(agent, lease)).json()["webmail_password"]


async def test_a_limited_key_reaches_its_mailboxes_only(shared_house: House) -> None:
    agent = await shared_house.agent()
    mine, other = await agent.lease(), await agent.lease()
    order = {"name": "k", "scopes": ["mail:read", "mail:allocate"], "mailbox_ids": [mine["mailbox_id"]]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with shared_house.client(headers={"authorization": f"Bearer {key}"}) as http:
        items = (await http.get(ROUTES)).json()["items"]
        assert [each["mailbox_id"] for each in items] == [mine["mailbox_id"]]
        assert (await http.get(f"{ROUTES}/{mine['mailbox_id']}")).status_code == 200
        for call in (
            http.get(f"{ROUTES}/{other['mailbox_id']}"),
            http.delete(f"{ROUTES}/{other['mailbox_id']}"),
            http.post(f"{ROUTES}/{other['mailbox_id']}/credentials/reset"),
        ):
            assert (await call).status_code == 404


async def test_erasing_ends_the_lease_and_erases_its_mail_at_once(post: Post) -> None:
    agent, house = await post.house.agent(), post.house
    erased, kept = await agent.lease(local_part="erased"), await agent.lease()
    await post.deliver(code_mail(1), erased["address"])
    await post.deliver(code_mail(2), erased["address"], kept["address"])
    path = f"{ROUTES}/{erased['mailbox_id']}"
    assert (await agent.http.delete(path)).status_code == 204
    assert (await agent.http.delete(path)).status_code == 404
    assert (await agent.http.get(path)).status_code == 404
    assert (await agent.http.get("/v2/messages", params={"mailbox_id": erased["mailbox_id"]})).status_code == 404
    assert [each["mailbox_id"] for each in await messages_of(agent)] == [kept["mailbox_id"]]
    lease = (await agent.http.get(f"/v2/mailboxes/leases/{erased['lease_id']}")).json()
    assert (lease["lease_status"], lease["used_bytes"], lease["used_messages"]) == ("released", 0, 0)
    assert (await post.rcpt(erased["address"])).startswith("550 5.2.1")
    left = "SELECT count(*) FROM mails WHERE convert_from(content, 'UTF8') LIKE '%481201%'"
    assert await kit_mail.value(house, left) == 0
    again = await agent.lease(local_part="erased")
    assert again["mailbox_id"] == erased["mailbox_id"]
    assert await messages_of(agent, mailbox_id=again["mailbox_id"]) == []


async def test_erasing_reaches_mail_that_is_accepted_but_not_parsed(house: House) -> None:
    async with kit_mail.accepting(house) as post:
        agent = await house.agent()
        erased, kept = await agent.lease(local_part="unparsed"), await agent.lease()
        assert (await post.send(code_mail(1), erased["address"])).startswith("250")
        assert (await post.send(code_mail(2), erased["address"], kept["address"])).startswith("250")
        assert (await agent.http.delete(f"{ROUTES}/{erased['mailbox_id']}")).status_code == 204
        await agent.lease(local_part="unparsed")
        async with kit_mail.parsing(house):
            await post.parsed()
    assert [each["mailbox_id"] for each in await messages_of(agent)] == [kept["mailbox_id"]]
    stored = await kit_mail.rows(house, "SELECT content FROM mails")
    assert not [row for row in stored if b"481201" in row["content"]]


async def test_erasing_and_parsing_at_once_leave_nothing(house: House) -> None:
    async with kit_mail.receiving(house) as post:
        agent = await house.agent()
        for number in range(8):
            lease = await agent.lease()
            await post.send(code_mail(90), lease["address"])
            await asyncio.sleep(number / 2_000)
            assert (await agent.http.delete(f"{ROUTES}/{lease['mailbox_id']}")).status_code == 204
        await post.parsed()
    assert await messages_of(agent) == []
    stored = await kit_mail.rows(house, "SELECT content FROM mails")
    assert not [row for row in stored if b"481290" in row["content"]]
