"""Routes of webhook endpoints."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from leasebox.billing.till_http import PaymentProof, Till
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.fetch_guard import Network
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, in_utc, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest
from leasebox.values.ids import MailboxId, WebhookId
from leasebox.values.keys import KeyRing
from leasebox.values.paths import Route
from leasebox.webhooks import deliveries, service, signing
from leasebox.webhooks.deliveries_http import DeliveryView, delivery_view
from leasebox.webhooks.model import DisabledReason, Status, Webhook, WebhookOrder

CREATE = Route("POST", "/v2/webhooks")
EventType = Literal[
    "message.received",
    "otp.extracted",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "lease.expiring",
    "lease.expired",
    "lease.released",
    "invoice.issued",
    "invoice.paid",
    "balance.low",
    "webhook.disabled",
    "*",
]
EventTypes = Annotated[list[EventType], msgspec.Meta(min_length=1, max_length=32)]
TargetUrl = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
MailboxIds = Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class WebhookRequest(msgspec.Struct, forbid_unknown_fields=True):
    """event_types: `*` stands for all, later ones too. secret: whsec_ and base64 of 24 to 64 bytes; leave it out to
    have one made. mailbox_ids: only facts of these mailboxes; leave it out for all facts."""

    event_types: EventTypes
    target_url: TargetUrl
    secret: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    mailbox_ids: MailboxIds | None = None


class WebhookPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is sent changes. mailbox_ids null: all. status disabled: what waits is given up.

    A mailbox's webhook_url stays that: neither mailbox_ids nor event_types beyond its mailbox's mail."""

    event_types: EventTypes | msgspec.UnsetType = msgspec.UNSET
    target_url: TargetUrl | msgspec.UnsetType = msgspec.UNSET
    mailbox_ids: MailboxIds | msgspec.UnsetType | None = msgspec.UNSET
    status: Status | msgspec.UnsetType = msgspec.UNSET


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """At most 31 days and 10,000 facts. to: leave it out for the present."""

    begin: Moment
    end: Moment | None = None


class WebhookView(msgspec.Struct):
    """mailbox_ids: null for all. account_id: the mailbox whose webhook_url this is. disabled_reason: by_caller,
    by_operator, gone (it answered 410) or failing (nothing but failures for five days)."""

    webhook_id: str
    target_url: str
    event_types: list[str]
    mailbox_ids: list[str] | None
    account_id: str | None
    status: Status
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    created_at: datetime


class NewWebhookView(WebhookView):
    """secret: shown this once; rotate it to get another."""

    secret: str


class RotatedView(msgspec.Struct):
    """secret: shown this once. old_secret_until: until then each delivery is signed with the old one too."""

    webhook_id: str
    secret: str
    old_secret_until: datetime


class ReplayView(msgspec.Struct):
    """replayed: how many facts are on their way again; those that were on their way already are not counted."""

    webhook_id: str
    replayed: int


class WebhookRoutes(Controller):
    """Being told of facts as they happen (Standard Webhooks)."""

    path = "/v2/webhooks"
    tags = ["Webhooks"]

    db: Database
    clock: Clock
    keys: KeyRing
    allow: Sequence[Network]
    till: Till
    once: Once

    @post("/", status_code=201, operation_id="make_webhook", **needs("webhook:write", 402, 404, 409, 422))
    async def make(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[WebhookRequest],
        x_payment_proof: PaymentProof = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[NewWebhookView]:
        """Have facts posted to an address of yours."""
        order = WebhookOrder(
            service.target_of(data.target_url, self.allow),
            tuple(dict.fromkeys(data.event_types)),
            _mailboxes(data.mailbox_ids),
        )
        secret = signing.make_secret() if data.secret is None else signing.given_secret(data.secret)
        demand = self.till.demand(request, CREATE, x_payment_proof)

        async def work(tx: Tx) -> NewWebhookView:
            admission = await self.till.admit(tx, caller, demand)
            made = await service.make(tx, caller, order, secret, self.keys, admission, demand.at, demand.request_id)
            return NewWebhookView(**msgspec.structs.asdict(webhook_view(made)), secret=secret.reveal())

        async with self.till.noting(caller, demand):
            return await self.once.answer(request, caller, idempotency_key, 201, work)

    @get("/", operation_id="list_webhooks", **needs("webhook:write"))
    async def listed(self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None) -> Page[WebhookView]:
        """Your webhooks, newest first."""
        below = after(cursor)
        rows = await self.db.read(lambda tx: service.listed(tx, caller, below, limit + 1))
        return page(rows, limit, webhook_view, lambda webhook: webhook.webhook_id)

    @get("/{webhook_id:str}", operation_id="get_webhook", **needs("webhook:write", 404))
    async def one(self, caller: Given[Caller], webhook_id: FromPath[str]) -> WebhookView:
        """One webhook; never its secret."""
        wanted = known_id(WebhookId, webhook_id)
        return webhook_view(await self.db.read(lambda tx: service.get(tx, caller, wanted)))

    @patch("/{webhook_id:str}", operation_id="change_webhook", **needs("webhook:write", 404, 409, 422))
    async def change(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        webhook_id: FromPath[str],
        data: JSONBody[WebhookPatch],
    ) -> WebhookView:
        """Change where or what is posted; disable or enable, unless the operator has disabled it."""
        wanted, now, trace = known_id(WebhookId, webhook_id), self.clock.now(), request_id(request)
        changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        if "target_url" in changes:
            changes["target_url"] = service.target_of(changes["target_url"], self.allow)
        if "event_types" in changes:
            changes["event_types"] = tuple(dict.fromkeys(changes["event_types"]))
        if "mailbox_ids" in changes:
            changes["mailbox_ids"] = _mailboxes(changes["mailbox_ids"])
        return webhook_view(await self.db.transact(lambda tx: service.change(tx, caller, wanted, changes, now, trace)))

    @delete("/{webhook_id:str}", status_code=204, operation_id="delete_webhook", **needs("webhook:write", 404))
    async def forget(self, request: Request[Any, Any, Any], caller: Given[Caller], webhook_id: FromPath[str]) -> None:
        """Forget a webhook and its deliveries."""
        wanted, now, trace = known_id(WebhookId, webhook_id), self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: service.delete(tx, caller, wanted, now, trace))

    @post(
        "/{webhook_id:str}/rotate-secret",
        status_code=200,
        operation_id="rotate_webhook_secret",
        **needs("webhook:write", 404, 409),
    )
    async def rotate(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        webhook_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[RotatedView]:
        """A new secret. The old one signs along for 24 hours, so that you can change over without a gap."""
        wanted, now, trace = known_id(WebhookId, webhook_id), self.clock.now(), request_id(request)
        secret = signing.make_secret()

        async def work(tx: Tx) -> RotatedView:
            _, until = await service.rotate(tx, caller, wanted, secret, self.keys, now, trace)
            return RotatedView(str(wanted), secret.reveal(), until)

        return await self.once.answer(request, caller, idempotency_key, 200, work)

    @post(
        "/{webhook_id:str}/test",
        status_code=202,
        operation_id="test_webhook",
        **needs("webhook:write", 404, 409),
    )
    async def test(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        webhook_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[DeliveryView]:
        """Post a `webhook.test`, once; its delivery tells how it went."""
        wanted, now = known_id(WebhookId, webhook_id), self.clock.now()

        async def work(tx: Tx) -> DeliveryView:
            return delivery_view(await deliveries.send_test(tx, await service.get(tx, caller, wanted), now))

        return await self.once.answer(request, caller, idempotency_key, 202, work)

    @post(
        "/{webhook_id:str}/replay",
        status_code=202,
        operation_id="replay_webhook",
        **needs("webhook:write", 404, 409, 422),
    )
    async def replay(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        webhook_id: FromPath[str],
        data: JSONBody[ReplayRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[ReplayView]:
        """Post the facts of a span of time again, also those that arrived; each under its first webhook-id."""
        wanted, now = known_id(WebhookId, webhook_id), self.clock.now()
        begin, end = window(data, now)

        async def work(tx: Tx) -> ReplayView:
            webhook = await service.get(tx, caller, wanted)
            return ReplayView(str(wanted), await deliveries.replay(tx, webhook, begin, end, now))

        return await self.once.answer(request, caller, idempotency_key, 202, work)


def window(data: ReplayRequest, at: datetime) -> tuple[datetime, datetime]:
    """The span that a replay is asked for. Raises BadRequest for one that ends before it begins."""
    begin = in_utc(data.begin, "body.from")
    end = at if data.end is None else in_utc(data.end, "body.to")
    if end < begin:
        raise BadRequest("The span ends before it begins.", fix="Send a `to` that is later than `from`.")
    return begin, end


def webhook_view(webhook: Webhook) -> WebhookView:
    """An endpoint as the API shows it."""
    limited = webhook.mailbox_ids
    return WebhookView(
        webhook_id=str(webhook.webhook_id),
        target_url=webhook.target_url,
        event_types=list(webhook.event_types),
        mailbox_ids=None if limited is None else [str(each) for each in limited],
        account_id=None if webhook.mailbox_id is None else str(webhook.mailbox_id),
        status=webhook.status,
        disabled_reason=webhook.disabled_reason,
        disabled_at=webhook.disabled_at,
        created_at=webhook.created_at,
    )


def _mailboxes(texts: Sequence[str] | None) -> tuple[MailboxId, ...] | None:
    return None if texts is None else tuple(dict.fromkeys(known_id(MailboxId, each) for each in texts))
