"""Verbs of endpoints: make, show, change, delete, rotate the secret; and the short form, a mailbox's `webhook_url`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from leasebox.audit.service import record
from leasebox.billing.model import Admission
from leasebox.identity.model import Caller
from leasebox.infra import fetch_target
from leasebox.infra.db import Tx
from leasebox.infra.fetch_guard import Network, judge
from leasebox.infra.fetch_target import UrlFault
from leasebox.infra.reseal import SealedTable
from leasebox.leases import service as leases
from leasebox.values.errors import NotFound
from leasebox.values.ids import MailboxId, TenantId, WebhookId
from leasebox.values.keys import KeyRing
from leasebox.values.secret import Secret
from leasebox.webhooks import deliveries, signing, store
from leasebox.webhooks.errors import OneMailboxOnly, TargetRefused, TooManySecrets, TooManyWebhooks
from leasebox.webhooks.model import (
    MAILBOX_TYPES,
    MOST_ENDPOINTS,
    MOST_LIVE_SECRETS,
    OLD_SECRET,
    DisabledReason,
    Status,
    Webhook,
    WebhookOrder,
)

_SAID = {
    UrlFault.TOO_LONG: "It has more than 2,048 characters.",
    UrlFault.CHARACTERS: "It holds a blank, a control character or a backslash.",
    UrlFault.NOT_ABSOLUTE: "It is no absolute URL.",
    UrlFault.SCHEME: "Only http and https are called.",
    UrlFault.USERINFO: "It names a user.",
    UrlFault.FRAGMENT: "It has a fragment.",
    UrlFault.HOST: "Its host is no name and no address in its usual spelling.",
    UrlFault.NUMERIC_HOST: "Its host is a number.",
    UrlFault.PORT: "Its port belongs to another protocol.",
}


def target_of(text: str, allow: Sequence[Network]) -> str:
    """A URL in its one spelling. Names are judged when they are called. Raises TargetRefused."""
    target = fetch_target.read(text)
    if isinstance(target, UrlFault):
        raise TargetRefused(f"The URL cannot be called. {_SAID[target]}", reason=target.value)
    refused = None if target.address is None else judge(target.address, allow)
    if refused is not None:
        raise TargetRefused(f"The URL's address is not public ({refused.value}).", reason="address")
    return str(target)


async def make(
    tx: Tx,
    caller: Caller,
    order: WebhookOrder,
    secret: Secret,
    keys: KeyRing,
    admission: Admission,
    at: datetime,
    request_id: str,
) -> Webhook:
    """A new endpoint; the audit row says what it was charged. Raises NotFound (a mailbox), TooManyWebhooks.

    A credential that is limited to mailboxes makes endpoints that are limited to them.
    """
    await _require_mailboxes(tx, caller, order.mailbox_ids)
    limited = order.mailbox_ids if order.mailbox_ids is not None else _own(caller)
    webhook = _fresh(caller.tenant_id, order.target_url, order.event_types, limited, None, at)
    await _insert(tx, webhook, secret, keys, at)
    act = caller.act(at, request_id, "webhook.make", str(webhook.webhook_id))
    await record(tx, msgspec.structs.replace(act, detail=admission.charged))
    return webhook


async def get(tx: Tx, caller: Caller, webhook_id: WebhookId) -> Webhook:
    """One endpoint. Raises NotFound, also for one that tells of mailboxes outside the caller's."""
    found = await store.find(tx, caller.tenant_id, _own(caller), webhook_id)
    if found is None:
        raise NotFound("No such webhook.")
    return found


async def listed(tx: Tx, caller: Caller, below: object, limit: int) -> list[Webhook]:
    """Newest first."""
    return await store.listed(tx, caller.tenant_id, _own(caller), below, limit)


async def change(
    tx: Tx, caller: Caller, webhook_id: WebhookId, changes: dict[str, Any], at: datetime, request_id: str
) -> Webhook:
    """Set `target_url`, `event_types`, `mailbox_ids`, `status`, whichever is given.

    Disabling lets what waits die; enabling begins with a clean slate. Raises NotFound, DisabledByOperator,
    OneMailboxOnly (it is a mailbox's `webhook_url`, and would become more).
    """
    await get(tx, caller, webhook_id)
    await store.lock_lane(tx, webhook_id)
    before, fields = await get(tx, caller, webhook_id), dict(changes)
    status = fields.pop("status", None)
    if status == "enabled":
        deliveries.require_own_switch(before)
    _require_short_form(before, fields)
    if "mailbox_ids" in fields:
        await _require_mailboxes(tx, caller, fields["mailbox_ids"])
        fields["mailbox_ids"] = fields["mailbox_ids"] if fields["mailbox_ids"] is not None else _own(caller)
    if fields:
        await store.change(tx, msgspec.structs.replace(before, **fields))
    if status is not None:
        await switch(tx, webhook_id, status, "by_caller", at)
    if changes:
        act = caller.act(at, request_id, "webhook.change", str(webhook_id))
        await record(tx, msgspec.structs.replace(act, detail={"changed": sorted(changes), "status": status}))
    return await get(tx, caller, webhook_id)


async def delete(tx: Tx, caller: Caller, webhook_id: WebhookId, at: datetime, request_id: str) -> None:
    """Forget an endpoint and its deliveries. Raises NotFound."""
    await get(tx, caller, webhook_id)
    await store.lock_lane(tx, webhook_id)
    if not await store.delete(tx, caller.tenant_id, webhook_id):
        raise NotFound("No such webhook.")
    await record(tx, caller.act(at, request_id, "webhook.delete", str(webhook_id)))


async def rotate(
    tx: Tx, caller: Caller, webhook_id: WebhookId, secret: Secret, keys: KeyRing, at: datetime, request_id: str
) -> tuple[Webhook, datetime]:
    """Sign with this secret from now on; the one before signs along for 24 hours, until the time given.

    Raises NotFound, TooManySecrets (five are good at once).
    """
    webhook = await get(tx, caller, webhook_id)
    until = await replace_secret(tx, webhook_id, secret, keys, at)
    await record(tx, caller.act(at, request_id, "webhook.rotate", str(webhook_id)))
    return webhook, until


async def replace_secret(tx: Tx, webhook_id: WebhookId, secret: Secret, keys: KeyRing, at: datetime) -> datetime:
    """The same for whoever writes the audit row itself. Raises NotFound, TooManySecrets."""
    if not await store.lock_lane(tx, webhook_id):
        raise NotFound("No such webhook.")
    live, last = await store.live_secrets(tx, webhook_id, at)
    if live >= MOST_LIVE_SECRETS:
        raise TooManySecrets(f"{live} secrets of this webhook are good now.", limit=MOST_LIVE_SECRETS)
    until = at + OLD_SECRET
    await store.add_secret(tx, webhook_id, signing.seal(keys, webhook_id, last + 1, secret), until)
    return until


def sealed_secrets(keys: KeyRing) -> SealedTable:
    """The secrets of endpoints, for sealing them anew. keys: of Purpose.WEBHOOK_SECRET."""
    return SealedTable("webhook_secrets", keys, store.by_key, store.sealed_otherwise, store.reseal)


async def set_mailbox_url(
    tx: Tx, caller: Caller, mailbox_id: MailboxId, url: str | None, keys: KeyRing, at: datetime, request_id: str
) -> None:
    """Make, change or, with None, delete the endpoint that is a mailbox's `webhook_url`.

    Raises NotFound, DisabledByOperator.
    """
    await leases.get_mailbox(tx, caller, mailbox_id)
    await store.stand_in_line(tx, caller.tenant_id)
    found = await store.of_mailboxes(tx, caller.tenant_id, [mailbox_id])
    if url is None:
        if found:
            await delete(tx, caller, found[0].webhook_id, at, request_id)
    elif found:
        await change(tx, caller, found[0].webhook_id, {"target_url": url, "status": "enabled"}, at, request_id)
    else:
        webhook = _fresh(caller.tenant_id, url, MAILBOX_TYPES, (mailbox_id,), mailbox_id, at)
        await _insert(tx, webhook, signing.make_secret(), keys, at)
        await record(tx, caller.act(at, request_id, "webhook.make", str(webhook.webhook_id)))


async def mailbox_urls(tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId]) -> dict[MailboxId, Webhook]:
    """The endpoints that are `webhook_url` of these mailboxes."""
    found = await store.of_mailboxes(tx, tenant_id, mailbox_ids)
    return {each.mailbox_id: each for each in found if each.mailbox_id is not None}


async def forget_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId) -> None:
    """The mailbox is being erased, and its `webhook_url` with it. Whoever erases writes the audit row."""
    for webhook in await store.of_mailboxes(tx, tenant_id, [mailbox_id]):
        await store.lock_lane(tx, webhook.webhook_id)
        await store.delete(tx, tenant_id, webhook.webhook_id)


async def switch(tx: Tx, webhook_id: WebhookId, status: Status, reason: DisabledReason, at: datetime) -> None:
    """Enable or disable; whoever calls holds the lane locked and writes the audit row."""
    if status == "enabled":
        await store.enable(tx, webhook_id)
        tx.wake(deliveries.WAKE_DELIVERIES, "")
    else:
        await store.disable(tx, webhook_id, reason, at)


def _require_short_form(before: Webhook, fields: dict[str, Any]) -> None:
    """A mailbox's `webhook_url` is free and not counted, so it stays what it is."""
    if before.mailbox_id is None:
        return
    if fields.get("mailbox_ids", before.mailbox_ids) != (before.mailbox_id,):
        raise OneMailboxOnly("This webhook is its mailbox's webhook_url, and tells of no other mailbox.")
    if not set(fields.get("event_types", ())) <= set(MAILBOX_TYPES):
        types = ", ".join(MAILBOX_TYPES)
        raise OneMailboxOnly(f"This webhook is its mailbox's webhook_url, and tells {types} only.")


async def _require_mailboxes(tx: Tx, caller: Caller, mailbox_ids: Sequence[MailboxId] | None) -> None:
    for mailbox_id in mailbox_ids or ():
        await leases.get_mailbox(tx, caller, mailbox_id)


async def _insert(tx: Tx, webhook: Webhook, secret: Secret, keys: KeyRing, at: datetime) -> None:
    await store.stand_in_line(tx, webhook.tenant_id)
    if not await store.insert(tx, webhook, MOST_ENDPOINTS):
        raise TooManyWebhooks(f"A tenant has at most {MOST_ENDPOINTS} webhooks.", limit=MOST_ENDPOINTS)
    sealed = signing.seal(keys, webhook.webhook_id, 1, secret)
    await store.add_secret(tx, webhook.webhook_id, sealed, at)


def _own(caller: Caller) -> tuple[MailboxId, ...] | None:
    return None if caller.mailbox_ids is None else tuple(sorted(caller.mailbox_ids))


def _fresh(
    tenant_id: TenantId,
    url: str,
    event_types: Sequence[str],
    mailbox_ids: tuple[MailboxId, ...] | None,
    mailbox_id: MailboxId | None,
    at: datetime,
) -> Webhook:
    return Webhook(
        WebhookId.new(at), tenant_id, url, tuple(event_types), mailbox_ids, mailbox_id, "enabled", None, None, at
    )
