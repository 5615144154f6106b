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
from tests.webhooks.hooks import hook

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
