"""An operator's verbs: of two who act at once one is written down, and nothing is where the work is refused."""

import asyncio

import pytest

from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import WebhookId
from leasebox.webhooks import oversight, signing
from leasebox.webhooks.errors import WebhookDisabled
from leasebox.webhooks.oversight import Operator
from leasebox.wiring.webhooks import webhook_keys
from tests import kit_mail
from tests.kit import House
from tests.webhooks.hooks import ScriptedPoster, Works, deliveries_of, hook

URL = "https://hooks.example/in"


def operator(house: House) -> Operator:
    return Operator("wallet:0xabc", house.clock.now(), "req_1", "why")


async def acts(house: House) -> list[str]:
    rows = await kit_mail.rows(house, "SELECT action FROM audit_rows WHERE actor = 'wallet:0xabc' ORDER BY id")
    return [row["action"] for row in rows]


async def test_of_many_who_disable_at_once_one_is_written_down(run: House) -> None:
    made = WebhookId.parse((await hook(await run.agent(), URL))["webhook_id"])

    async def disable() -> None:
        await run.db.transact(lambda tx: oversight.switch(tx, made, "disabled", operator(run)))

    await asyncio.gather(*(disable() for _ in range(8)))
    assert await acts(run) == ["webhook.disable"]


async def test_what_is_refused_is_not_written_down(run: House) -> None:
    made = WebhookId.parse((await hook(await run.agent(), URL))["webhook_id"])
    await run.db.transact(lambda tx: oversight.switch(tx, made, "disabled", operator(run)))
    now = run.clock.now()

    async def refused(tx: Tx) -> None:
        with pytest.raises(WebhookDisabled):
            await oversight.replay(tx, made, now, now, operator(run))
        with pytest.raises(WebhookDisabled):
            await oversight.retry_dead(tx, made, operator(run))
        with pytest.raises(NotFound):
            await oversight.rotate(
                tx, WebhookId.new(now), signing.make_secret(), webhook_keys(run.settings), operator(run)
            )

    await run.db.transact(refused)
    assert await acts(run) == ["webhook.disable"]


async def test_whose_webhook_is_disabled_is_told_and_cannot_enable_it(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    path = f"/v2/webhooks/{(await hook(agent, URL))['webhook_id']}"
    listening = await hook(agent, "http://127.0.0.1:8002/x", "webhook.disabled")
    made = WebhookId.parse(path.rpartition("/")[2])
    await run.db.transact(lambda tx: oversight.switch(tx, made, "disabled", operator(run)))
    await works.step()
    (told,) = await deliveries_of(agent, webhook_id=listening["webhook_id"])
    assert (told["event_type"], told["state"]) == ("webhook.disabled", "succeeded")
    facts = await kit_mail.rows(run, "SELECT payload FROM facts WHERE type = 'webhook.disabled'")
    assert [row["payload"] for row in facts] == [{"webhook_id": str(made), "reason": "by_operator"}]
    for change in ({"status": "enabled"}, {"status": "enabled", "target_url": f"{URL}/other"}):
        refused = await agent.http.patch(path, json=change)
        assert (refused.status_code, refused.json()["reason"]) == (409, "disabled_by_operator")
    refused = await agent.http.post(f"{path}/test")
    assert (refused.status_code, refused.json()["reason"]) == (409, "disabled_by_operator")
    changed = await agent.http.patch(path, json={"status": "disabled", "target_url": f"{URL}/other"})
    assert (changed.status_code, changed.json()["disabled_reason"]) == (200, "by_operator")
    await run.db.transact(lambda tx: oversight.switch(tx, made, "enabled", operator(run)))
    assert (await agent.http.get(path)).json()["status"] == "enabled"
    assert (await agent.http.patch(path, json={"status": "enabled"})).status_code == 200


async def test_what_its_tenant_had_disabled_the_operator_can_hold(run: House) -> None:
    agent = await run.agent()
    path = f"/v2/webhooks/{(await hook(agent, URL))['webhook_id']}"
    made = WebhookId.parse(path.rpartition("/")[2])
    before = (await agent.http.patch(path, json={"status": "disabled"})).json()
    run.clock.advance(minutes=1)
    for _ in range(2):
        await run.db.transact(lambda tx: oversight.switch(tx, made, "disabled", operator(run)))
    shown = (await agent.http.get(path)).json()
    assert (shown["disabled_reason"], shown["disabled_at"]) == ("by_operator", before["disabled_at"])
    assert await acts(run) == ["webhook.disable"]
    assert (await agent.http.patch(path, json={"status": "enabled"})).status_code == 409
