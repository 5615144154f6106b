"""Deliveries over the routes: list, look, send again."""

from datetime import datetime
from typing import Any

import pytest

from leasebox.values.ids import DeliveryId
from tests.kit import House
from tests.webhooks.hooks import DELIVERIES, HOOKS, ScriptedPoster, Works, deliveries_of, delivery, hook, tell

URL = "http://127.0.0.1:8001/x"


async def test_the_list_shows_each_state_and_filters(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200, 500))
    first, second = await hook(agent, URL, "message.received"), await hook(agent, URL, "otp.extracted")
    await tell(run, agent, "message.received")
    await works.step()
    await tell(run, agent, "otp.extracted")
    await works.step()
    await tell(run, agent, "message.received")
    await works.publish()
    found = await deliveries_of(agent)
    assert [each["state"] for each in found] == ["pending", "failed", "succeeded"]
    assert [each["webhook_id"] for each in found] == [
        first["webhook_id"], second["webhook_id"], first["webhook_id"],
    ]  # fmt: skip
    assert [each["delivery_id"] for each in await deliveries_of(agent, state="failed")] == [found[1]["delivery_id"]]
    of_first = await deliveries_of(agent, webhook_id=first["webhook_id"])
    assert [each["delivery_id"] for each in of_first] == [found[0]["delivery_id"], found[2]["delivery_id"]]
    failed = found[1]
    assert (failed["last_status_code"], failed["last_error"], failed["finished_at"]) == (500, None, None)
    assert datetime.fromisoformat(failed["next_attempt_at"]) > run.clock.now()
    assert (found[2]["next_attempt_at"], found[2]["finished_at"] is not None) == (None, True)
    first_page = (await agent.http.get(DELIVERIES, params={"limit": 2})).json()
    rest = (await agent.http.get(DELIVERIES, params={"cursor": first_page["next_cursor"]})).json()
    assert [each["delivery_id"] for each in first_page["items"] + rest["items"]] == [
        each["delivery_id"] for each in found
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [({"state": "lost"}, 400), ({"webhook_id": "x"}, 404), ({"limit": 0}, 400), ({"cursor": "x"}, 400)],
)
async def test_filters_that_are_none(shared: House, query: dict[str, Any], status: int) -> None:
    agent = await shared.agent()
    assert (await agent.http.get(DELIVERIES, params=query)).status_code == status


async def test_a_dead_one_is_sent_again_with_a_fresh_schedule(run: House) -> None:
    agent, poster = await run.agent(), ScriptedPoster(410)
    works = Works(run, poster)
    made = await hook(agent, URL)
    await tell(run, agent)
    await works.step()
    (found,) = await deliveries_of(agent, state="dead")
    path = f"{DELIVERIES}/{found['delivery_id']}/redeliver"
    refused = await agent.http.post(path)
    assert (refused.status_code, refused.json()["reason"], refused.json()["disabled_reason"]) == (
        409, "webhook_disabled", "gone",
    )  # fmt: skip
    await agent.http.patch(f"{HOOKS}/{made['webhook_id']}", json={"status": "enabled"})
    poster.script = [500]
    again = await agent.http.post(path)
    assert (again.status_code, again.json()["state"], again.json()["attempt_count"]) == (202, "pending", 1)
    await works.step()
    one = await delivery(agent, found["delivery_id"])
    assert (one["state"], one["attempt_count"]) == ("failed", 2)
    wait = datetime.fromisoformat(one["next_attempt_at"]) - run.clock.now()
    assert wait.total_seconds() < 6, "the schedule has begun anew"
    sent = [headers["webhook-id"] for _, headers, _ in poster.sent if headers["webhook-id"] == found["event_id"]]
    assert len(sent) == 2


async def test_what_succeeded_is_sent_again_once_however_often_it_is_asked_for(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    await hook(agent, URL)
    await tell(run, agent)
    await works.step()
    (found,) = await deliveries_of(agent)
    path = f"{DELIVERIES}/{found['delivery_id']}/redeliver"
    answers = [await agent.http.post(path) for _ in range(3)]
    assert {each.status_code for each in answers} == {202}
    assert await works.step() == 1
    key = {"idempotency-key": "once"}
    assert (await agent.http.post(path, headers=key)).status_code == 202
    assert await works.step() == 1
    replayed = await agent.http.post(path, headers=key)
    assert replayed.headers["idempotent-replayed"] == "true"
    assert await works.step() == 0
    assert (await delivery(agent, found["delivery_id"]))["attempt_count"] == 3


async def test_unknown_deliveries_are_a_404(shared: House) -> None:
    agent = await shared.agent()
    for delivery_id in (str(DeliveryId.new(shared.clock.now())), "dlv_nonsense"):
        for call in (
            agent.http.get(f"{DELIVERIES}/{delivery_id}"),
            agent.http.post(f"{DELIVERIES}/{delivery_id}/redeliver"),
        ):
            assert (await call).status_code == 404


async def test_neither_requests_nor_answers_are_kept(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    await hook(agent, URL)
    await tell(run, agent, canary="canary")
    await works.step()
    (found,) = await deliveries_of(agent)
    shown = await delivery(agent, found["delivery_id"])
    assert "canary" not in str(shown)
    assert set(shown["attempts"][0]) == {"number", "at", "took_ms", "status_code", "error"}


async def test_the_webhook_of_another_is_not_found(shared: House) -> None:
    agent, other = await shared.agent(), await shared.agent()
    theirs = (await hook(other, URL))["webhook_id"]
    assert (await other.http.get(DELIVERIES, params={"webhook_id": theirs})).json()["items"] == []
    answer = await agent.http.get(DELIVERIES, params={"webhook_id": theirs})
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    lease = await agent.lease()
    wide = (await hook(agent, URL))["webhook_id"]
    order = {"name": "k", "scopes": ["webhook:write"], "mailbox_ids": [lease["mailbox_id"]]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with shared.client(headers={"authorization": f"Bearer {key}"}) as http:
        assert (await http.get(DELIVERIES, params={"webhook_id": wide})).status_code == 404
