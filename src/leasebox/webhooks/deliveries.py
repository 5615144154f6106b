"""Verbs of deliveries: made from facts, claimed, settled, shown, sent again.

A fact is delivered at least once to each endpoint that wants it, or its delivery is visibly dead. Whatever is sent
again carries the same webhook-id, so a receiver that keeps these sees each fact once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, append
from leasebox.infra.facts_order import BATCH
from leasebox.values.errors import NotFound
from leasebox.values.facts import WEBHOOK_DISABLED
from leasebox.values.ids import DeliveryId, EventId, TenantId, WebhookId, lowest_id
from leasebox.webhooks import delivery_store, queue_store, store
from leasebox.webhooks.alerts import LATELY
from leasebox.webhooks.errors import DisabledByOperator, ReplayTooLarge, WebhookDisabled
from leasebox.webhooks.model import (
    DELIVERIES_KEPT,
    LONGEST_REPLAY,
    MOST_REPLAYED,
    SCHEDULE,
    WEBHOOK_TEST,
    Attempt,
    Claimed,
    Delivery,
    DeliveryFilter,
    DisabledReason,
    Lane,
    Tried,
    Webhook,
    after_failure,
    after_success,
    is_out_of_patience,
    next_try,
    paced,
)
from leasebox.webhooks.places import Offer
from leasebox.webhooks.queue_store import Outcome

WAKE_DELIVERIES = "deliveries"
"""Wakes whoever delivers, with ""."""

LANES_A_CLAIM = 64
_FORGOTTEN_AT_ONCE = 2_000
_JOB = "job:webhooks"


async def fan_out(tx: Tx, at: datetime) -> int:
    """Turn up to BATCH facts that have been numbered since last time into deliveries; how many facts that were.

    The cursor moves with them, so each fact is looked at once; a delivery a fact and endpoint besides is all there can
    be. Wakes whoever delivers.
    """
    passed, made = await queue_store.fan_out(tx, BATCH, at)
    if made:
        tx.wake(WAKE_DELIVERIES, "")
    return passed


async def claim(tx: Tx, offer: Offer, at: datetime) -> list[Claimed]:
    """Take due deliveries, as many as there is room for; of each endpoint no more than it may have under way.

    One statement, which needs no transaction around it. A claim ends by itself, so what dies with a process is tried
    again.
    """
    return await queue_store.claim(tx, offer, at, LANES_A_CLAIM)


async def settle(tx: Tx, tries: Sequence[Tried], at: datetime) -> list[WebhookId]:
    """Write down how tries ended, and what follows: done, a time for the next try, dead, or an endpoint's end.

    Gives the endpoints that were disabled: because they said 410, or because nothing but failures came for five days.
    """
    lanes, disabled = await queue_store.lock_lanes(tx, sorted({each.delivery.webhook_id for each in tries}))
    known = [each for each in tries if each.delivery.webhook_id in lanes]
    for one in sorted(known, key=lambda each: each.at):
        webhook_id = one.delivery.webhook_id
        go_on = after_success if one.has_succeeded else after_failure
        lanes[webhook_id] = paced(lanes[webhook_id], go_on(lanes[webhook_id], at), one.took_ms)
    outcomes = [_outcome(one, one.delivery.webhook_id in disabled, at) for one in known]
    await queue_store.settle(tx, outcomes, list(lanes.values()), at)
    ending = _ending(known, lanes, at)
    return [webhook_id for webhook_id, reason in ending.items() if await disable(tx, webhook_id, reason, at)]


async def disable(tx: Tx, webhook_id: WebhookId, reason: DisabledReason, at: datetime) -> bool:
    """Stop an endpoint that cannot go on, and tell its tenant; False if it was disabled before. The lane is locked."""
    stopped = await stop(tx, webhook_id, reason, at)
    if stopped is None:
        return False
    tenant_id, dead = stopped
    detail = {"reason": reason, "dead": dead}
    await record(tx, Act(at, _JOB, "webhook.disable", str(webhook_id), tenant_id, "job", detail=detail))
    return True


async def stop(tx: Tx, webhook_id: WebhookId, reason: DisabledReason, at: datetime) -> tuple[TenantId, int] | None:
    """Disable an endpoint and tell its tenant; whose it is, and how many deliveries died. None if that is no news.

    Whoever calls holds the lane locked and writes the audit row.
    """
    changed, dead = await store.disable(tx, webhook_id, reason, at)
    if not changed:
        return None
    await queue_store.must_last(tx)
    webhook = (await store.listed_any(tx, None, None, None, webhook_id, 1))[0]
    payload = {"webhook_id": str(webhook_id), "reason": reason}
    await append(tx, [Fact(webhook.tenant_id, None, None, WEBHOOK_DISABLED, payload, at)])
    return webhook.tenant_id, dead


async def listed(tx: Tx, wanted: DeliveryFilter, below: object, limit: int) -> list[Delivery]:
    """Newest first."""
    return await delivery_store.listed(tx, wanted, below, limit)


async def get(tx: Tx, wanted: DeliveryFilter) -> tuple[Delivery, list[Attempt]]:
    """The one delivery that the filter names, with every try. Raises NotFound."""
    found = await delivery_store.listed(tx, wanted, None, 1)
    if not found:
        raise NotFound("No such delivery.")
    return found[0], await delivery_store.attempts(tx, found[0].tenant_id, found[0].delivery_id)


async def redeliver(tx: Tx, wanted: DeliveryFilter, at: datetime) -> tuple[Delivery, int]:
    """Start an ended delivery's schedule anew; what has not ended is left as it is. The delivery, and 1 if it was.

    Raises NotFound, WebhookDisabled.
    """
    found, _ = await get(tx, wanted)
    await _require_enabled(tx, found.webhook_id)
    again = await delivery_store.send_again(tx, found.tenant_id, found.webhook_id, found.delivery_id, at)
    tx.wake(WAKE_DELIVERIES, "")
    return (await get(tx, wanted))[0], again


async def replay(tx: Tx, webhook: Webhook, begin: datetime, end: datetime, at: datetime) -> int:
    """Deliver the facts of a span of time that the endpoint wants, also those it has had; how many.

    Raises WebhookDisabled, ReplayTooLarge (more than 31 days or 10,000 facts): nothing is sent then.
    """
    if end - begin > LONGEST_REPLAY:
        raise ReplayTooLarge(f"At most {LONGEST_REPLAY.days} days are replayed at once.")
    await _require_enabled(tx, webhook.webhook_id)
    span = (webhook.tenant_id, webhook.webhook_id, lowest_id(begin), lowest_id(end))
    if await delivery_store.count_window(tx, *span, MOST_REPLAYED + 1) > MOST_REPLAYED:
        raise ReplayTooLarge(f"More than {MOST_REPLAYED} facts happened between these times.", limit=MOST_REPLAYED)
    replayed = await delivery_store.replay(tx, *span, at)
    tx.wake(WAKE_DELIVERIES, "")
    return replayed


async def retry_dead(tx: Tx, webhook: Webhook, at: datetime) -> int:
    """Start the dead deliveries of an endpoint anew, oldest first, up to 10,000; how many. Raises WebhookDisabled."""
    await _require_enabled(tx, webhook.webhook_id)
    again = await delivery_store.send_dead_again(tx, webhook.tenant_id, webhook.webhook_id, at, MOST_REPLAYED)
    tx.wake(WAKE_DELIVERIES, "")
    return again


async def send_test(tx: Tx, webhook: Webhook, at: datetime) -> Delivery:
    """Send a `webhook.test`, once; while one is on its way, that one is given. Raises WebhookDisabled."""
    await _require_enabled(tx, webhook.webhook_id)
    tenant_id, webhook_id = webhook.tenant_id, webhook.webhook_id
    delivery_id = await delivery_store.open_test(tx, tenant_id, webhook_id)
    if delivery_id is None:
        delivery_id, event_id = DeliveryId.new(at), EventId.new(at)
        made = Delivery(
            delivery_id, tenant_id, webhook_id, event_id, WEBHOOK_TEST, "pending", 0, at, at, None, None, None
        )
        await delivery_store.insert_test(tx, made, {"webhook_id": str(webhook_id)}, len(SCHEDULE) - 1)
        tx.wake(WAKE_DELIVERIES, "")
    return (await get(tx, DeliveryFilter(tenant_id, delivery_id=delivery_id)))[0]


async def depth(tx: Tx, at: datetime) -> queue_store.Depth:
    """How much stands in the queue and before it, and what went wrong within LATELY."""
    return await queue_store.depth(tx, at, at - LATELY)


async def forget(tx: Tx, at: datetime) -> int:
    """Drop some of the deliveries that ended 30 days ago, and secrets that have expired; how many deliveries."""
    before = at - DELIVERIES_KEPT
    await store.forget_secrets(tx, at)
    return await delivery_store.forget(tx, lowest_id(before), before, _FORGOTTEN_AT_ONCE)


def _outcome(one: Tried, is_stopped: object, at: datetime) -> Outcome:
    if one.has_succeeded:
        return Outcome(one, "succeeded", None)
    again = None if is_stopped or one.is_gone else next_try(one, at)
    return Outcome(one, "dead" if again is None else "failed", again)


def _ending(tries: Sequence[Tried], lanes: Mapping[WebhookId, Lane], at: datetime) -> dict[WebhookId, DisabledReason]:
    """Endpoints that are to be disabled, and why."""
    found: dict[WebhookId, DisabledReason] = {
        webhook_id: "failing" for webhook_id, lane in lanes.items() if is_out_of_patience(lane, at)
    }
    return found | {one.delivery.webhook_id: "gone" for one in tries if one.is_gone}


def require_own_switch(webhook: Webhook) -> None:
    """Raises DisabledByOperator."""
    if webhook.disabled_reason == "by_operator":
        raise DisabledByOperator("The operator has disabled the webhook.", disabled_reason=webhook.disabled_reason)


async def _require_enabled(tx: Tx, webhook_id: WebhookId) -> None:
    """Lock the lane and look again. Raises NotFound, WebhookDisabled, DisabledByOperator."""
    await store.lock_lane(tx, webhook_id)
    found = await store.listed_any(tx, None, None, None, webhook_id, 1)
    if not found:
        raise NotFound("No such webhook.")
    require_own_switch(found[0])
    if found[0].status == "disabled":
        raise WebhookDisabled("The webhook is disabled.", disabled_reason=found[0].disabled_reason)
