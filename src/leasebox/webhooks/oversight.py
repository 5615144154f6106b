"""What an operator may see of, and do to, any tenant's webhooks. Each act is one audit row in its transaction."""

from datetime import datetime

import msgspec

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import DeliveryId, TenantId, WebhookId
from leasebox.values.keys import KeyRing
from leasebox.values.secret import Secret
from leasebox.webhooks import deliveries, service, store
from leasebox.webhooks.model import Delivery, DeliveryFilter, Status, Webhook


class Operator(msgspec.Struct, frozen=True):
    """Who acts, when, by which request, and why."""

    actor: str
    at: datetime
    request_id: str
    note: str

    def act(self, action: str, resource: str, tenant_id: TenantId, **detail: object) -> Act:
        """The audit row of what is done."""
        told = {"note": self.note, **detail}
        return Act(self.at, self.actor, action, resource, tenant_id, self.request_id, detail=told)


async def listed(tx: Tx, tenant_id: TenantId | None, status: Status | None, below: object, limit: int) -> list[Webhook]:
    """Endpoints of all tenants, newest first."""
    return await store.listed_any(tx, tenant_id, status, below, None, limit)


async def get(tx: Tx, webhook_id: WebhookId) -> Webhook:
    """One endpoint. Raises NotFound."""
    found = await store.listed_any(tx, None, None, None, webhook_id, 1)
    if not found:
        raise NotFound("No such webhook.")
    return found[0]


async def switch(tx: Tx, webhook_id: WebhookId, status: Status, by: Operator) -> Webhook:
    """Disable or enable an endpoint; what it is already: the same answer, and no audit row. Raises NotFound.

    Its tenant is told that it was disabled, and cannot enable it.
    """
    await store.lock_lane(tx, webhook_id)
    before = await get(tx, webhook_id)
    if status == "disabled":
        stopped = await deliveries.stop(tx, webhook_id, "by_operator", by.at)
        if stopped is not None:
            await record(tx, by.act("webhook.disable", str(webhook_id), before.tenant_id, dead=stopped[1]))
    elif before.status == "disabled":
        await service.switch(tx, webhook_id, status, "by_operator", by.at)
        await record(tx, by.act("webhook.enable", str(webhook_id), before.tenant_id))
    return await get(tx, webhook_id)


async def rotate(tx: Tx, webhook_id: WebhookId, secret: Secret, keys: KeyRing, by: Operator) -> datetime:
    """Sign with this secret from now on; until when the one before signs along. Raises NotFound, TooManySecrets."""
    until = await service.replace_secret(tx, webhook_id, secret, keys, by.at)
    await record(tx, by.act("webhook.rotate", str(webhook_id), (await get(tx, webhook_id)).tenant_id))
    return until


async def replay(tx: Tx, webhook_id: WebhookId, begin: datetime, end: datetime, by: Operator) -> int:
    """Deliver the facts of a span of time again; how many. Raises NotFound, WebhookDisabled, ReplayTooLarge."""
    webhook = await get(tx, webhook_id)
    count = await deliveries.replay(tx, webhook, begin, end, by.at)
    span = {"from": str(begin), "to": str(end)}
    await record(tx, by.act("webhook.replay", str(webhook_id), webhook.tenant_id, replayed=count, **span))
    return count


async def retry_dead(tx: Tx, webhook_id: WebhookId, by: Operator) -> int:
    """Start an endpoint's dead deliveries anew; how many. Raises NotFound, WebhookDisabled."""
    webhook = await get(tx, webhook_id)
    count = await deliveries.retry_dead(tx, webhook, by.at)
    await record(tx, by.act("webhook.retry_dead", str(webhook_id), webhook.tenant_id, retried=count))
    return count


async def redeliver(tx: Tx, delivery_id: DeliveryId, by: Operator) -> Delivery:
    """Start an ended delivery anew; one on its way is left to itself, unrecorded. Raises NotFound, WebhookDisabled."""
    found, again = await deliveries.redeliver(tx, DeliveryFilter(None, delivery_id=delivery_id), by.at)
    if again:
        await record(tx, by.act("webhook.redeliver", str(delivery_id), found.tenant_id))
    return found
