"""What the settings make of webhooks."""

import asyncio
from pathlib import Path

from leasebox.infra import facts_order
from leasebox.infra.db import Tx
from leasebox.infra.fetch import Fault
from leasebox.infra.fetch_target import Target, read
from leasebox.values.ids import MailboxId
from leasebox.wiring.webhooks import (
    deliver,
    erase_of_mailbox,
    fan_out,
    fetcher_of,
    mailbox_urls,
    webhook_keys,
    webhooks_of,
)
from tests.fakes.receiver import Receiver
from tests.kit import House, settings_for
from tests.webhooks.hooks import deliveries_of, hook, hooked, tell, tenant_of


def target(url: str) -> Target:
    found = read(url)
    assert isinstance(found, Target)
    return found


async def test_what_the_operator_allows_is_called_and_nothing_else(tmp_path: Path) -> None:
    closed = settings_for("postgresql://x/y", "redis://x", str(tmp_path))
    opened = settings_for("postgresql://x/y", "redis://x", str(tmp_path), LEASEBOX_WEBHOOK_ALLOW="127.0.0.0/8")
    async with Receiver().listening() as receiver:
        refused = await fetcher_of(closed).post(target(receiver.url), {}, b"")
        fetcher = fetcher_of(opened)
        allowed = await fetcher.post(target(receiver.url), {}, b"")
        unknown = await fetcher.post(target("http://hooks.example/"), {}, b"")
        fetcher.close()
    assert (refused.fault, allowed.status, unknown.fault) == (Fault.ADDRESS, 200, Fault.NAME)
    assert webhooks_of(opened)["allow"] == opened.webhook_allow
    assert webhooks_of(closed)["allow"] == ()


def test_the_previous_master_key_is_known(tmp_path: Path) -> None:
    before = settings_for("postgresql://x/y", "redis://x", str(tmp_path))
    after = settings_for(
        "postgresql://x/y", "redis://x", str(tmp_path), LEASEBOX_SECRET="b" * 40, LEASEBOX_SECRET_PREVIOUS="a" * 40
    )
    assert webhook_keys(before).previous is None
    assert webhook_keys(after).previous is not None
    assert mailbox_urls(before).spelled("HTTPS://hooks.example") == "https://hooks.example/"


async def test_the_worker_delivers_what_is_fanned_out_and_ends_when_told(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with hooked(database_url, redis_url, tmp_path) as house, Receiver().listening() as receiver:
        agent, stop = await house.agent(), asyncio.Event()
        await hook(agent, receiver.url)
        working = asyncio.create_task(deliver(house.settings, house.base, house.hub, stop))
        await tell(house, agent, count=3)
        assert await published(house) == 3
        await receiver.count(3)
        stop.set()
        async with asyncio.timeout(10):
            await working
        assert {each["state"] for each in await deliveries_of(agent)} == {"succeeded"}


async def published(house: House) -> int:

    async def body(tx: Tx) -> int:
        await facts_order.number(tx)
        return await fan_out(house.base)(tx)

    return await house.db.transact(body)


async def test_erasing_a_mailbox_that_has_no_url_erases_its_mail_all_the_same(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    mailbox, at = MailboxId.parse(lease["mailbox_id"]), house.clock.now()
    assert await house.db.transact(lambda tx: erase_of_mailbox(tx, tenant_of(agent), mailbox, at)) == 0
