"""What webhooks need, from the settings: keys, names, and the worker that delivers."""

import asyncio
from datetime import datetime
from typing import Any

from leasebox.config import Settings
from leasebox.infra.db import Tx
from leasebox.infra.facts_loop import FanOut
from leasebox.infra.fetch import Fetcher
from leasebox.infra.fetch_names import DnsNames
from leasebox.live.hub import Hub
from leasebox.mail import service as mail
from leasebox.mail.jobs import every
from leasebox.sending import retention
from leasebox.values.ids import MailboxId, TenantId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.webhooks import deliveries, service
from leasebox.webhooks.jobs import Runner, forget, measure
from leasebox.webhooks.mailbox_urls import MailboxUrls
from leasebox.wiring.process import Backbone

_FORGET_EVERY_S, _MEASURE_EVERY_S = 3600.0, 15.0


def webhook_keys(settings: Settings) -> KeyRing:
    """What the secrets of endpoints are sealed with."""
    return ring(settings.secret, settings.secret_previous, Purpose.WEBHOOK_SECRET)


def webhooks_of(settings: Settings) -> dict[str, Any]:
    """What the routes of endpoints are bound to."""
    return {"keys": webhook_keys(settings), "allow": settings.webhook_allow}


def mailbox_urls(settings: Settings) -> MailboxUrls:
    """The short form, for the routes of mailboxes."""
    return MailboxUrls(webhook_keys(settings), settings.webhook_allow)


async def erase_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, at: datetime) -> int:
    """Erase a mailbox's mail, what is queued of it and its `webhook_url`, and let its send attempts go; how many
    messages."""
    await retention.leave_of_mailbox(tx, tenant_id, mailbox_id, at)
    await service.forget_mailbox(tx, tenant_id, mailbox_id)
    return await mail.erase_of_mailbox(tx, tenant_id, mailbox_id)


def fan_out(base: Backbone) -> FanOut:
    """Turns numbered facts into deliveries."""
    return lambda tx: deliveries.fan_out(tx, base.clock.now())


async def deliver(settings: Settings, base: Backbone, hub: Hub, stop: asyncio.Event) -> None:
    """Deliver until `stop`, then finish the tries under way; tidy up meanwhile."""
    keys, fetcher = webhook_keys(settings), fetcher_of(settings)
    runner = Runner(base.db, fetcher, keys, base.clock)
    with hub.listening(deliveries.WAKE_DELIVERIES, "") as woken:
        await asyncio.gather(
            runner.run(woken, stop),
            every(_FORGET_EVERY_S, lambda: forget(base.db, base.clock), "deliveries", stop),
            every(_MEASURE_EVERY_S, lambda: measure(base.db, base.clock), "webhook gauges", stop),
        )
    fetcher.close()


def fetcher_of(settings: Settings) -> Fetcher:
    """Outgoing HTTP to public addresses, and to networks that the operator allows."""
    servers = tuple((server.host, server.port) for server in settings.dns.servers)
    return Fetcher(DnsNames(None if settings.dns.mode == "off" else servers), settings.webhook_allow)
