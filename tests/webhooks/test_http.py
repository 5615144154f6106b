"""Endpoints over the routes: make, show, change, delete, rotate, test, replay; and every refusal."""

import asyncio
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from leasebox.values.facts import PUBLIC
from leasebox.values.ids import MailboxId, WebhookId
from leasebox.webhooks import deliveries, service
from leasebox.webhooks.http import EventType
from leasebox.webhooks.places import Places
from tests import kit_mail
from tests.fakes.receiver import Receiver
from tests.kit import Agent, House
from tests.webhooks.hooks import (
    HOOKS,
    ScriptedPoster,
    Works,
    ask_hook,
    deliveries_of,
    hook,
    lasting,
    tell,
)

URL = "https://hooks.example/in?token=x"
MINE = "whsec_" + "YW" * 22


async def limited(house: House, agent: Agent, *mailboxes: str) -> Agent:
    """The same tenant by a key that is limited to some mailboxes."""
    order = {"name": "k", "scopes": ["webhook:write", "mail:allocate", "mail:read"], "mailbox_ids": list(mailboxes)}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    return Agent(house.client(), agent.wallet, {**agent.session, "access_token": key})


def test_every_public_fact_can_be_asked_for() -> None:
    assert set(get_args(EventType)) == {*PUBLIC, "*"}


async def test_what_is_made_is_shown_and_its_secret_only_once(run: House) -> None:
    agent = await run.agent()
    made = await hook(agent, URL, "message.received", "otp.extracted", "message.received")
    assert made["secret"].startswith("whsec_")
    path = f"{HOOKS}/{made['webhook_id']}"
    shown = (await agent.http.get(path)).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert shown["event_types"] == ["message.received", "otp.extracted"]
    assert (shown["target_url"], shown["status"], shown["mailbox_ids"], shown["account_id"]) == (
        URL, "enabled", None, None,
    )  # fmt: skip
    stored = await kit_mail.rows(run, "SELECT webhook_secrets::text AS line FROM webhook_secrets")
    audit = await kit_mail.rows(run, "SELECT audit_rows::text AS line FROM audit_rows")
    assert made["secret"] not in str(stored) + str(audit)


async def test_a_secret_of_ones_own_signs(run: House, works: Works, receiver: Receiver) -> None:
    agent = await run.agent()
    made = await hook(agent, receiver.url, secret=MINE)
    assert made["secret"] == MINE
    await tell(run, agent)
    await works.step()
    (one,) = receiver.got
    StandardWebhook(MINE).verify(one.body, one.headers)
    SvixWebhook(MINE).verify(one.body, one.headers)


@pytest.mark.parametrize(
    ("order", "status", "error"),
    [
        ({"target_url": "ftp://hooks.example/"}, 422, "unprocessable"),
        ({"target_url": "https://user@hooks.example/"}, 422, "unprocessable"),
        ({"target_url": "https://2130706433/"}, 422, "unprocessable"),
        ({"target_url": "http://10.0.0.1/"}, 422, "unprocessable"),
        ({"target_url": "http://169.254.169.254/"}, 422, "unprocessable"),
        ({"target_url": "http://[::1]/"}, 422, "unprocessable"),
        ({"target_url": "http://[::ffff:10.0.0.1]/"}, 422, "unprocessable"),
        ({"target_url": "https://hooks.example:25/"}, 422, "unprocessable"),
        ({"target_url": "nonsense"}, 422, "unprocessable"),
        ({"target_url": ""}, 400, "bad_request"),
        ({"target_url": "https://hooks.example/" + "x" * 2100}, 400, "bad_request"),
        ({"target_url": None}, 400, "bad_request"),
        ({"event_types": []}, 400, "bad_request"),
        ({"event_types": ["usage.denied"]}, 400, "bad_request"),
        ({"event_types": ["webhook.test"]}, 400, "bad_request"),
        ({"event_types": "*"}, 400, "bad_request"),
        ({"secret": "x"}, 422, "unprocessable"),
        ({"secret": "whsec_"}, 422, "unprocessable"),
        ({"secret": "whsec_" + "YW" * 15}, 422, "unprocessable"),
        ({"secret": "whsec_" + "YW" * 44}, 422, "unprocessable"),
        ({"secret": "whsec_" + "Y-" * 22}, 422, "unprocessable"),
        ({"secret": "whsec_" + "x" * 300}, 400, "bad_request"),
        ({"mailbox_ids": []}, 400, "bad_request"),
        ({"mailbox_ids": ["mbx_nonsense"]}, 404, "not_found"),
        ({"status": "disabled"}, 400, "bad_request"),
    ],
    ids=range(25),
)
async def test_what_is_refused(shared: House, order: dict[str, Any], status: int, error: str) -> None:
    agent = await shared.agent()
    answer = await agent.http.post(HOOKS, json={"event_types": ["*"], "target_url": URL, **order})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["fix"]
    assert (await agent.http.get(HOOKS)).json()["items"] == []


async def test_a_mailbox_of_nobody_or_of_others_is_a_404(shared: House) -> None:
    agent, other = await shared.agent(), await shared.agent()
    for mailbox in ((await other.lease())["mailbox_id"], str(MailboxId.new(shared.clock.now()))):
        assert (await ask_hook(agent.http, URL, mailbox_ids=[mailbox])).status_code == 404


async def test_making_is_metered_and_paid_for(house: House) -> None:
    agent = await house.agent()
    for _ in range(5):
        assert (await ask_hook(agent.http, URL)).status_code == 201
    refused = await ask_hook(agent.http, URL)
    assert (refused.status_code, refused.json()["error"], refused.json()["meter"]) == (
        402, "payment_required", "webhook.create",
    )  # fmt: skip
    assert (await agent.http.post(HOOKS, json={"event_types": ["*"], "target_url": "x"})).status_code == 422
    proof = await agent.http.post("/v2/payments/proof", json={"method": "POST", "path": "/v2/webhooks"})
    paid = {"x-payment-proof": proof.json()["x_payment_proof"]}
    order = {"event_types": ["*"], "target_url": URL}
    assert (await agent.http.post(HOOKS, json={**order, "secret": "x"}, headers=paid)).status_code == 422
    assert (await agent.http.post(HOOKS, json=order, headers=paid)).status_code == 201
    assert (await agent.http.post(HOOKS, json=order, headers=paid)).json()["error"] == "invalid_payment_proof"
    events = (await agent.http.get("/v2/usage/events", params={"meter": "webhook.create"})).json()["items"]
    assert len(events) == 6
    rows = await kit_mail.rows(house, "SELECT detail FROM audit_rows WHERE action = 'webhook.make' ORDER BY xid")
    assert [row["detail"] for row in rows] == [{}] * 5 + [{"amount_usdc": "0.001000", "price_version": 1}]


async def test_a_repeated_request_is_answered_as_the_first_time(run: House) -> None:
    agent, key = await run.agent(), {"idempotency-key": "k1"}
    order = {"event_types": ["*"], "target_url": URL}
    first, second = [await agent.http.post(HOOKS, json=order, headers=key) for _ in range(2)]
    assert (first.json(), second.headers["idempotent-replayed"]) == (second.json(), "true")
    path = f"{HOOKS}/{first.json()['webhook_id']}/rotate-secret"
    rotated = [(await agent.http.post(path, headers={"idempotency-key": "k2"})).json()["secret"] for _ in range(2)]
    assert rotated[0] == rotated[1] != first.json()["secret"]
    assert await kit_mail.value(run, "SELECT count(*) FROM webhook_secrets") == 2


async def test_a_tenant_has_only_so_many_whoever_makes_them_at_once(
    run: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_ENDPOINTS", 3)
    agent, other = await run.agent(), await run.agent()
    found = await kit_mail.statuses([ask_hook(agent.http, URL) for _ in range(10)])
    assert found == [201] * 3 + [409] * 7
    refused = await ask_hook(agent.http, URL)
    assert (refused.json()["reason"], refused.json()["limit"]) == ("too_many_webhooks", 3)
    assert (await ask_hook(other.http, URL)).status_code == 201
    lease = await agent.lease()
    own = await agent.http.patch(f"/v2/mailboxes/accounts/{lease['account_id']}", json={"webhook_url": URL})
    assert own.status_code == 200, "the short form does not count"
    items = (await agent.http.get(HOOKS)).json()["items"]
    await agent.http.delete(f"{HOOKS}/{items[-1]['webhook_id']}")
    assert (await ask_hook(agent.http, URL)).status_code == 201


async def test_the_list_has_pages(shared: House) -> None:
    agent = await shared.agent()
    made = [(await hook(agent, URL))["webhook_id"] for _ in range(3)]
    first = (await agent.http.get(HOOKS, params={"limit": 2})).json()
    second = (await agent.http.get(HOOKS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["webhook_id"] for each in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target_url": "HTTPS://Other.example"}, {"target_url": "https://other.example/"}),
        ({"event_types": ["otp.extracted", "otp.extracted"]}, {"event_types": ["otp.extracted"]}),
        ({"status": "disabled"}, {"status": "disabled", "disabled_reason": "by_caller"}),
        ({"status": "enabled"}, {"status": "enabled", "disabled_reason": None}),
        ({"mailbox_ids": None}, {"mailbox_ids": None}),
        ({}, {"target_url": URL, "status": "enabled"}),
    ],
)
async def test_only_what_is_sent_changes(shared: House, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    agent = await shared.agent()
    made = await hook(agent, URL, "message.received")
    path = f"{HOOKS}/{made['webhook_id']}"
    answer = await agent.http.patch(path, json=changes)
    assert answer.status_code == 200, answer.text
    before = {name: value for name, value in made.items() if name not in ("secret", "disabled_at")}
    shown = (await agent.http.get(path)).json()
    assert shown == answer.json()
    assert {name: shown[name] for name in before} == before | expected


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"target_url": "http://10.0.0.1/"}, 422),
        ({"target_url": None}, 400),
        ({"event_types": []}, 400),
        ({"status": "paused"}, 400),
        ({"mailbox_ids": ["mbx_" + "0" * 26]}, 404),
        ({"secret": MINE}, 400),
    ],
)
async def test_changes_that_are_none(shared: House, changes: dict[str, Any], status: int) -> None:
    agent = await shared.agent()
    made = await hook(agent, URL)
    answer = await agent.http.patch(f"{HOOKS}/{made['webhook_id']}", json=changes)
    assert answer.status_code == status


async def test_disabling_gives_up_what_waits_and_enabling_begins_anew(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(500))
    made = await hook(agent, "http://127.0.0.1:8001/x")
    path = f"{HOOKS}/{made['webhook_id']}"
    await tell(run, agent, count=3)
    await works.step()
    await agent.http.patch(path, json={"status": "disabled"})
    assert [each["state"] for each in await deliveries_of(agent)] == ["dead"] * 3
    await tell(run, agent)
    run.clock.advance(minutes=50)
    assert await works.step() == 0
    assert len(await deliveries_of(agent)) == 3, "nothing is kept for a disabled endpoint"
    for call in ("test", "replay"):
        body = {"from": "2026-11-20T10:00:00Z"} if call == "replay" else None
        refused = await agent.http.post(f"{path}/{call}", json=body)
        assert (refused.status_code, refused.json()["reason"]) == (409, "webhook_disabled")
    works.runner._poster = ScriptedPoster(200)  # type: ignore[assignment]
    await agent.http.patch(path, json={"status": "enabled"})
    await tell(run, agent)
    assert await works.step() == 1
    assert (await deliveries_of(agent))[0]["state"] == "succeeded"


async def test_disabling_and_publishing_at_once_leave_nothing_waiting(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    made = await hook(agent, "http://127.0.0.1:8001/x")
    path = f"{HOOKS}/{made['webhook_id']}"
    for _ in range(10):
        await tell(run, agent, count=5)
        await asyncio.gather(
            works.publish(), agent.http.patch(path, json={"status": "disabled"}), works.runner._claim(3)
        )
        found = await kit_mail.value(run, "SELECT count(*) FROM webhook_deliveries WHERE next_at IS NOT NULL")
        assert found == 0
        await agent.http.patch(path, json={"status": "enabled"})
        works.runner._places = Places()


async def test_deleting_forgets_the_deliveries_too(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(500))
    made, kept = await hook(agent, "http://127.0.0.1:8001/x"), await hook(agent, "http://127.0.0.1:8002/x")
    await tell(run, agent, count=2)
    await works.step()
    path = f"{HOOKS}/{made['webhook_id']}"
    assert (await agent.http.delete(path)).status_code == 204
    assert (await agent.http.delete(path)).status_code == 404
    assert (await agent.http.get(path)).status_code == 404
    assert {each["webhook_id"] for each in await deliveries_of(agent)} == {kept["webhook_id"]}
    run.clock.advance(minutes=10)
    assert await works.step() == 1, "after its third failure the other one rests"
    actions = await kit_mail.rows(run, "SELECT action FROM audit_rows WHERE action LIKE 'webhook.%' ORDER BY id")
    assert [row["action"] for row in actions] == ["webhook.make", "webhook.make", "webhook.delete"]


async def test_deleting_while_it_is_being_delivered_to(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    made = await hook(agent, "http://127.0.0.1:8001/x")
    await tell(run, agent, count=3)
    await works.publish()
    claimed = await works.runner._claim(10)
    await agent.http.delete(f"{HOOKS}/{made['webhook_id']}")
    ended = [await works.runner._try(one) for one in claimed]
    await works.runner._settle(ended)
    assert await kit_mail.value(run, "SELECT count(*) FROM webhook_deliveries") == 0


async def test_facts_go_to_the_endpoints_that_want_them(run: House) -> None:
    agent, other, works = await run.agent(), await run.agent(), Works(run, ScriptedPoster(200))
    box, second = (await agent.lease())["mailbox_id"], (await agent.lease())["mailbox_id"]
    everything = await hook(agent, "https://hooks.example/1")
    received = await hook(agent, "https://hooks.example/2", "message.received")
    of_box = await hook(agent, "https://hooks.example/3", "*", mailbox_ids=[box])
    theirs = await hook(other, "https://hooks.example/4")
    before = len(await deliveries_of(agent))
    await tell(run, agent, "message.received", box)
    await tell(run, agent, "otp.extracted", second)
    await tell(run, agent, "invoice.issued")
    await tell(run, agent, "usage.denied", box)
    await tell(run, other, "message.received")
    await works.step()

    async def got(who: Agent, one: dict[str, Any]) -> set[str]:
        wanted = {"message.received", "otp.extracted", "invoice.issued", "usage.denied"}
        found = await deliveries_of(who, webhook_id=one["webhook_id"])
        return {each["event_type"] for each in found} & wanted

    assert before == 0
    assert await got(agent, everything) == {"message.received", "otp.extracted", "invoice.issued"}
    assert await got(agent, received) == {"message.received"}
    assert await got(agent, of_box) == {"message.received"}
    assert await got(other, theirs) == {"message.received"}
    events = {each["event_id"] for each in await deliveries_of(agent, webhook_id=received["webhook_id"])}
    also = {each["event_id"] for each in await deliveries_of(agent, webhook_id=everything["webhook_id"])}
    assert events <= also, "one fact has one id wherever it is sent"


async def test_a_key_limited_to_mailboxes_is_limited_here_too(run: House) -> None:
    agent = await run.agent()
    box, second = (await agent.lease())["mailbox_id"], (await agent.lease())["mailbox_id"]
    everything = await hook(agent, URL)
    both, own = await hook(agent, URL, mailbox_ids=[box, second]), await hook(agent, URL, mailbox_ids=[box])
    key = await limited(run, agent, box)
    made = await hook(key, URL)
    assert made["mailbox_ids"] == [box], "what is not said means its own mailboxes"
    assert (await ask_hook(key.http, URL, mailbox_ids=[second])).status_code == 404
    items = (await key.http.get(HOOKS)).json()["items"]
    assert {each["webhook_id"] for each in items} == {own["webhook_id"], made["webhook_id"]}
    for one in (everything, both):
        path = f"{HOOKS}/{one['webhook_id']}"
        for call in (
            key.http.get(path),
            key.http.patch(path, json={"status": "disabled"}),
            key.http.delete(path),
            key.http.post(f"{path}/rotate-secret"),
            key.http.post(f"{path}/test"),
            key.http.post(f"{path}/replay", json={"from": "2026-11-20T10:00:00Z"}),
        ):
            assert (await call).status_code == 404
    widened = await key.http.patch(f"{HOOKS}/{own['webhook_id']}", json={"mailbox_ids": None})
    assert widened.json()["mailbox_ids"] == [box]
    assert (await key.http.patch(f"{HOOKS}/{own['webhook_id']}", json={"mailbox_ids": [second]})).status_code == 404
    works = Works(run, ScriptedPoster(200))
    await tell(run, agent, "message.received", box)
    await tell(run, agent, "message.received", second)
    await works.step()
    seen = {each["webhook_id"] for each in await deliveries_of(key)}
    assert seen == {own["webhook_id"], made["webhook_id"]}
    hidden = [each for each in await deliveries_of(agent) if each["webhook_id"] not in seen]
    for path in (f"{HOOKS}/deliveries/{hidden[0]['delivery_id']}",):
        assert (await key.http.get(path)).status_code == 404
        assert (await key.http.post(f"{path}/redeliver")).status_code == 404


async def test_both_secrets_sign_for_a_day_after_a_change(run: House, receiver: Receiver) -> None:
    agent, works = await lasting(run), Works(run)
    made = await hook(agent, receiver.url)
    rotated = (await agent.http.post(f"{HOOKS}/{made['webhook_id']}/rotate-secret")).json()
    old, new = StandardWebhook(made["secret"]), StandardWebhook(rotated["secret"])
    await tell(run, agent)
    await works.step()
    one = receiver.got[-1]
    assert len(one.headers["webhook-signature"].split()) == 2
    for library in (old, new):
        library.verify(one.body, one.headers)
    SvixWebhook(made["secret"]).verify(one.body, one.headers)
    SvixWebhook(rotated["secret"]).verify(one.body, one.headers)
    run.clock.advance(hours=24, seconds=1)
    await tell(run, agent)
    await works.step()
    late = receiver.got[-1]
    (signature,) = late.headers["webhook-signature"].split()
    stamped = {**late.headers, "webhook-timestamp": late.headers["webhook-timestamp"]}
    for library in (old, new):
        with pytest.raises(WebhookVerificationError, match="too new"):  # the test's clock is a day ahead
            library.verify(late.body, stamped)
    assert signature == _signed(new, late)
    assert signature != _signed(old, late)
    works.fetcher.close()


def _signed(library: StandardWebhook, one: Any) -> str:
    at = datetime.fromtimestamp(int(one.headers["webhook-timestamp"]), UTC)
    return library.sign(one.headers["webhook-id"], at, one.body.decode())


async def test_only_five_secrets_are_good_at_once(shared: House) -> None:
    agent = await lasting(shared)
    path = f"{HOOKS}/{(await hook(agent, URL))['webhook_id']}/rotate-secret"
    found = await kit_mail.statuses([agent.http.post(path) for _ in range(8)])
    assert found == [200] * 4 + [409] * 4
    assert (await agent.http.post(path)).json()["reason"] == "too_many_secrets"
    shared.clock.advance(hours=25)
    assert (await agent.http.post(path)).status_code == 200


async def test_a_test_is_sent_once_and_tells_how_it_went(run: House, works: Works, receiver: Receiver) -> None:
    agent = await run.agent()
    made = await hook(agent, receiver.url, "invoice.paid")
    path = f"{HOOKS}/{made['webhook_id']}/test"
    first, second = [await agent.http.post(path) for _ in range(2)]
    assert (first.status_code, first.json()["event_type"], first.json()["state"]) == (202, "webhook.test", "pending")
    assert first.json()["delivery_id"] == second.json()["delivery_id"], "one at a time"
    assert await works.step() == 1
    (one,) = receiver.got
    told = StandardWebhook(made["secret"]).verify(one.body, one.headers)
    assert (told["type"], told["data"]) == ("webhook.test", {"webhook_id": made["webhook_id"]})
    assert (await deliveries_of(agent))[0]["state"] == "succeeded"
    failing = Works(run, ScriptedPoster(500))
    assert (await agent.http.post(path)).json()["delivery_id"] != first.json()["delivery_id"]
    assert await failing.step() == 1
    assert (await deliveries_of(agent))[0]["state"] == "dead", "a test is not tried again"


async def test_a_span_of_time_is_replayed(run: House, works: Works, receiver: Receiver) -> None:
    agent = await run.agent()
    made = await hook(agent, receiver.url, "message.received")
    path = f"{HOOKS}/{made['webhook_id']}/replay"
    await tell(run, agent, count=2)
    await works.step()
    run.clock.advance(minutes=10)
    begin = run.clock.now().isoformat()
    await tell(run, agent, count=3)
    await tell(run, agent, "otp.extracted")
    await works.step()
    run.clock.advance(minutes=10)
    end = run.clock.now().isoformat()
    await tell(run, agent)
    await works.step()
    assert len(receiver.got) == 6
    answer = await agent.http.post(path, json={"from": begin, "to": end})
    assert (answer.status_code, answer.json()) == (202, {"webhook_id": made["webhook_id"], "replayed": 3})
    assert (await agent.http.post(path, json={"from": begin, "to": end})).json()["replayed"] == 0, "on their way"
    assert await works.step() == 3
    assert sorted(receiver.ids()[6:]) == sorted(receiver.ids()[2:5]), "under their first ids"
    assert (await agent.http.post(path, json={"from": begin})).json()["replayed"] == 4
    assert {each["attempt_count"] for each in await deliveries_of(agent)} == {1, 2}


async def test_what_happened_before_the_endpoint_was_made_can_be_replayed(run: House, works: Works) -> None:
    agent = await run.agent()
    await tell(run, agent, count=2)
    await works.step()
    made = await hook(agent, URL, "message.received")
    assert await deliveries_of(agent) == []
    answer = await agent.http.post(f"{HOOKS}/{made['webhook_id']}/replay", json={"from": "2026-11-01T00:00:00Z"})
    assert answer.json()["replayed"] == 2


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "bad_request"),
        ({"from": "yesterday"}, 400, "bad_request"),
        ({"from": "2026-11-20T10:00:00"}, 400, "bad_request"),
        ({"from": "2026-11-20T10:00:00Z", "to": "2026-11-19T10:00:00Z"}, 400, "bad_request"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-02T00:00:00Z"}, 422, "unprocessable"),
        ({"from": "0001-01-01T00:00:00Z"}, 422, "unprocessable"),
        ({"begin": "2026-11-20T10:00:00Z"}, 400, "bad_request"),
    ],
)
async def test_spans_that_are_not_replayed(shared: House, body: dict[str, Any], status: int, error: str) -> None:
    agent = await shared.agent()
    answer = await agent.http.post(f"{HOOKS}/{(await hook(agent, URL))['webhook_id']}/replay", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_more_than_one_call_replays_is_refused(run: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MOST_REPLAYED", 3)
    agent = await run.agent()
    path = f"{HOOKS}/{(await hook(agent, URL))['webhook_id']}/replay"
    begin = run.clock.now().isoformat()
    await tell(run, agent, count=4)
    refused = await agent.http.post(path, json={"from": begin})
    assert (refused.status_code, refused.json()["reason"], refused.json()["limit"]) == (422, "replay_too_large", 3)
    assert await deliveries_of(agent) == []


async def test_unknown_webhooks_are_a_404_everywhere(shared: House) -> None:
    agent = await shared.agent()
    for webhook_id in (str(WebhookId.new(shared.clock.now())), "whk_nonsense", "x"):
        path = f"{HOOKS}/{webhook_id}"
        for call in (
            agent.http.get(path),
            agent.http.patch(path, json={}),
            agent.http.delete(path),
            agent.http.post(f"{path}/rotate-secret"),
            agent.http.post(f"{path}/test"),
            agent.http.post(f"{path}/replay", json={"from": "2026-11-20T10:00:00Z"}),
        ):
            answer = await call
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
