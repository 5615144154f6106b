"""`webhook_url` of a mailbox: set, shown, delivered to, changed, taken away, erased with it."""

import asyncio
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook

from leasebox.values.ids import WebhookId
from leasebox.webhooks import oversight
from leasebox.webhooks.oversight import Operator
from tests import kit_mail
from tests.fakes.receiver import Receiver
from tests.kit import Agent, House
from tests.webhooks.hooks import HOOKS, ScriptedPoster, Works, deliveries_of, tell

ACCOUNTS = "/v2/mailboxes/accounts"
URL = "https://hooks.example/in"


async def put(agent: Agent, lease: dict[str, Any], url: str | None, status: int = 200) -> dict[str, Any]:
    answer = await agent.http.patch(f"{ACCOUNTS}/{lease['account_id']}", json={"webhook_url": url})
    assert answer.status_code == status, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_message_events_of_the_mailbox_arrive(run: House, works: Works, receiver: Receiver) -> None:
    agent = await run.agent()
    lease, other = await agent.lease(), await agent.lease()
    shown = await put(agent, lease, receiver.url)
    assert shown["webhook_url"] == receiver.url
    hook = (await agent.http.get(f"{HOOKS}/{shown['webhook_id']}")).json()
    assert (hook["account_id"], hook["mailbox_ids"]) == (lease["account_id"], [lease["mailbox_id"]])
    path = f"{HOOKS}/{shown['webhook_id']}/rotate-secret"
    secret = (await agent.http.post(path)).json()["secret"]
    await tell(run, agent, "message.received", lease["mailbox_id"])
    await tell(run, agent, "otp.extracted", lease["mailbox_id"])
    await tell(run, agent, "lease.expiring", lease["mailbox_id"])
    await tell(run, agent, "message.received", other["mailbox_id"])
    assert await works.step() == 2
    for one in receiver.got:
        told = StandardWebhook(secret).verify(one.body, one.headers)
        assert told["mailbox_id"] == lease["mailbox_id"]
    assert {one.event["type"] for one in receiver.got} == {"message.received", "otp.extracted"}


async def test_it_is_shown_changed_and_taken_away(run: House) -> None:
    agent = await run.agent()
    lease, other = await agent.lease(), await agent.lease()
    first = await put(agent, lease, "HTTPS://hooks.example")
    assert first["webhook_url"] == "https://hooks.example/"
    second = await put(agent, lease, "https://other.example/x")
    assert (second["webhook_id"], second["webhook_url"]) == (first["webhook_id"], "https://other.example/x")
    items = {each["account_id"]: each for each in (await agent.http.get(ACCOUNTS)).json()["items"]}
    assert items[lease["account_id"]]["webhook_url"] == "https://other.example/x"
    assert (items[other["account_id"]]["webhook_url"], items[other["account_id"]]["webhook_id"]) == (None, None)
    named = await agent.http.patch(f"{ACCOUNTS}/{lease['account_id']}", json={"display_name": "Otter"})
    assert named.json()["webhook_url"] == "https://other.example/x"
    gone = await put(agent, lease, None)
    assert (gone["webhook_url"], gone["webhook_id"]) == (None, None)
    assert (await put(agent, lease, None))["webhook_url"] is None
    assert (await agent.http.get(HOOKS)).json()["items"] == []


@pytest.mark.parametrize(
    ("url", "status"),
    [("http://10.0.0.1/", 422), ("ftp://hooks.example/", 422), ("", 422), ("x" * 2049, 400), (5, 400)],
)
async def test_what_is_refused_changes_nothing(shared: House, url: Any, status: int) -> None:
    agent = await shared.agent()
    lease = await agent.lease()
    changes = {"display_name": "Otter", "webhook_url": url}
    answer = await agent.http.patch(f"{ACCOUNTS}/{lease['account_id']}", json=changes)
    assert answer.status_code == status
    shown = (await agent.http.get(f"{ACCOUNTS}/{lease['account_id']}")).json()
    assert (shown["display_name"], shown["webhook_url"]) == (None, None)


async def test_it_takes_the_right_to_webhooks(shared: House) -> None:
    agent = await shared.agent()
    lease = await agent.lease()
    order = {"name": "k", "scopes": ["mail:allocate"]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with shared.client(headers={"authorization": f"Bearer {key}"}) as http:
        path = f"{ACCOUNTS}/{lease['account_id']}"
        refused = await http.patch(path, json={"webhook_url": URL})
        assert (refused.status_code, refused.json()["scope"]) == (403, "webhook:write")
        assert (await http.patch(path, json={"display_name": "Otter"})).status_code == 200


async def test_of_several_who_set_it_at_once_one_endpoint_is_made(run: House) -> None:
    agent = await run.agent()
    lease = await agent.lease()
    shown = await asyncio.gather(*(put(agent, lease, f"{URL}/{number}") for number in range(8)))
    assert len({each["webhook_id"] for each in shown}) == 1
    assert await kit_mail.value(run, "SELECT count(*) FROM webhooks") == 1


async def test_setting_it_again_enables_what_was_disabled(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(410))
    lease = await agent.lease()
    shown = await put(agent, lease, URL)
    await tell(run, agent, "message.received", lease["mailbox_id"])
    await works.step()
    path = f"{HOOKS}/{shown['webhook_id']}"
    assert (await agent.http.get(path)).json()["status"] == "disabled"
    await put(agent, lease, URL)
    assert (await agent.http.get(path)).json()["status"] == "enabled"


async def test_it_is_erased_with_the_mailbox(run: House) -> None:
    agent = await run.agent()
    lease = await agent.lease(local_part="erased")
    await put(agent, lease, URL)
    await tell(run, agent, "message.received", lease["mailbox_id"])
    await Works(run, ScriptedPoster(200)).step()
    assert (await agent.http.delete(f"{ACCOUNTS}/{lease['account_id']}")).status_code == 204
    assert (await agent.http.get(HOOKS)).json()["items"] == []
    assert await deliveries_of(agent) == []
    again = await agent.lease(local_part="erased")
    shown = (await agent.http.get(f"{ACCOUNTS}/{again['account_id']}")).json()
    assert shown["webhook_url"] is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"mailbox_ids": None}, 422),
        ({"event_types": ["*"]}, 422),
        ({"event_types": ["message.received", "lease.expired"]}, 422),
        ({"mailbox_ids": None, "event_types": ["*"], "target_url": f"{URL}/all"}, 422),
        ({"event_types": ["otp.extracted"], "target_url": f"{URL}/codes"}, 200),
        ({"status": "disabled"}, 200),
    ],
)
async def test_it_becomes_no_webhook_that_was_not_paid_for(shared: House, change: Any, status: int) -> None:
    agent = await shared.agent()
    lease, other = await agent.lease(), await agent.lease()
    shown = await put(agent, lease, URL)
    path = f"{HOOKS}/{shown['webhook_id']}"
    before = (await agent.http.get(path)).json()
    answer = await agent.http.patch(path, json=change)
    assert answer.status_code == status, answer.text
    after = (await agent.http.get(path)).json()
    if status == 200:
        assert {**before, **change} == {**after, "disabled_reason": None, "disabled_at": None}
    else:
        assert answer.json()["reason"] == "one_mailbox_only"
        assert after == before
    for boxes, wanted in (([lease["mailbox_id"]], 200), ([lease["mailbox_id"], other["mailbox_id"]], 422)):
        assert (await agent.http.patch(path, json={"mailbox_ids": boxes})).status_code == wanted


async def test_what_the_operator_disabled_is_not_enabled_by_setting_it_again(run: House) -> None:
    agent = await run.agent()
    lease = await agent.lease()
    shown = await put(agent, lease, URL)
    by = Operator("wallet:0xabc", run.clock.now(), "req_1", "why")
    await run.db.transact(lambda tx: oversight.switch(tx, WebhookId.parse(shown["webhook_id"]), "disabled", by))
    assert (await put(agent, lease, f"{URL}/other", 409))["reason"] == "disabled_by_operator"
    hook = (await agent.http.get(f"{HOOKS}/{shown['webhook_id']}")).json()
    assert (hook["status"], hook["target_url"]) == ("disabled", URL)
