"""Routes of webhooks and their deliveries as admins see them: disable, rotate, replay, retry what is dead.

An endpoint's path and query may hold a secret of its tenant, and are not shown.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.leases_http import ReasonRequest
from leasebox.admin.model import Admin, Right
from leasebox.infra import fetch_target
from leasebox.infra.db import Database, Tx
from leasebox.infra.fetch_target import UrlFault
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.values.clock import Clock
from leasebox.values.ids import DeliveryId, TenantId, WebhookId
from leasebox.values.keys import KeyRing
from leasebox.webhooks import deliveries, oversight, signing
from leasebox.webhooks.deliveries_http import AttemptView, DeliveryView, InState, delivery_detail, delivery_view
from leasebox.webhooks.http import ReplayRequest, ReplayView, RotatedView, window
from leasebox.webhooks.model import Delivery, DeliveryFilter, DisabledReason, Status, Webhook
from leasebox.webhooks.oversight import Operator


class AdminReplayRequest(ReplayRequest, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """note: why; it is kept in the audit log."""

    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class AdminWebhookView(msgspec.Struct):
    """target_origin: scheme, host and port. account_id: the mailbox whose webhook_url this is."""

    webhook_id: str
    tenant_id: str
    target_origin: str
    event_types: list[str]
    mailbox_ids: list[str] | None
    account_id: str | None
    status: Status
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    created_at: datetime


class AdminDeliveryView(DeliveryView):
    tenant_id: str


class AdminDeliveryDetail(AdminDeliveryView):
    """attempts: every try, oldest first."""

    attempts: list[AttemptView]


class RetriedView(msgspec.Struct):
    """retried: how many dead deliveries are on their way again, 10,000 at most."""

    webhook_id: str
    retried: int


class AdminWebhookRoutes(Controller):
    """The webhooks of all tenants."""

    path = "/v2/admin/webhooks"
    tags = TAGS

    db: Database
    clock: Clock
    keys: KeyRing
    once: Once

    @get("/", operation_id="admin_list_webhooks", **admits(Right.LOOK, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        status: FromQuery[Literal["enabled", "disabled"] | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminWebhookView]:
        """Webhooks of all tenants, newest first."""
        below, tenant = after(cursor), None if tenant_id is None else known_id(TenantId, tenant_id)
        rows = await self.db.read(lambda tx: oversight.listed(tx, tenant, status, below, limit + 1))
        return page(rows, limit, _view, lambda webhook: webhook.webhook_id)

    @get("/{webhook_id:str}", operation_id="admin_get_webhook", **admits(Right.LOOK, 404))
    async def one(self, webhook_id: FromPath[str]) -> AdminWebhookView:
        """One webhook."""
        return _view(await self.db.read(lambda tx: oversight.get(tx, known_id(WebhookId, webhook_id))))

    @post(
        "/{webhook_id:str}/disable", status_code=200, operation_id="admin_disable_webhook", **admits(Right.STEER, 404)
    )
    async def disable(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        webhook_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminWebhookView:
        """Send nothing any more; what waits is dead. Disabled already: the same answer."""
        return await self._switch(webhook_id, "disabled", self._by(request, admin, data.note))

    @post("/{webhook_id:str}/enable", status_code=200, operation_id="admin_enable_webhook", **admits(Right.STEER, 404))
    async def enable(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        webhook_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminWebhookView:
        """Send again, with a clean slate. Enabled already: the same answer."""
        return await self._switch(webhook_id, "enabled", self._by(request, admin, data.note))

    @post(
        "/{webhook_id:str}/rotate-secret",
        status_code=200,
        operation_id="admin_rotate_webhook_secret",
        **admits(Right.STEER, 404, 409),
    )
    async def rotate(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        webhook_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[RotatedView]:
        """A new secret, to be handed to the tenant; the old one signs along for 24 hours."""
        wanted, by = known_id(WebhookId, webhook_id), self._by(request, admin, data.note)
        secret = signing.make_secret()

        async def work(tx: Tx) -> RotatedView:
            until = await oversight.rotate(tx, wanted, secret, self.keys, by)
            return RotatedView(str(wanted), secret.reveal(), until)

        return await self.once.answer(request, admin, idempotency_key, 200, work)

    @post(
        "/{webhook_id:str}/replay",
        status_code=202,
        operation_id="admin_replay_webhook",
        **admits(Right.STEER, 404, 409, 422),
    )
    async def replay(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        webhook_id: FromPath[str],
        data: JSONBody[AdminReplayRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[ReplayView]:
        """Post the facts of a span of time again."""
        wanted, by = known_id(WebhookId, webhook_id), self._by(request, admin, data.note)
        begin, end = window(data, by.at)

        async def work(tx: Tx) -> ReplayView:
            return ReplayView(str(wanted), await oversight.replay(tx, wanted, begin, end, by))

        return await self.once.answer(request, admin, idempotency_key, 202, work)

    @post(
        "/{webhook_id:str}/retry-dead",
        status_code=202,
        operation_id="admin_retry_dead_deliveries",
        **admits(Right.STEER, 404, 409),
    )
    async def retry_dead(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        webhook_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[RetriedView]:
        """Send the webhook's dead deliveries again."""
        wanted, by = known_id(WebhookId, webhook_id), self._by(request, admin, data.note)

        async def work(tx: Tx) -> RetriedView:
            return RetriedView(str(wanted), await oversight.retry_dead(tx, wanted, by))

        return await self.once.answer(request, admin, idempotency_key, 202, work)

    async def _switch(self, webhook_id: str, status: Status, by: Operator) -> AdminWebhookView:
        wanted = known_id(WebhookId, webhook_id)
        return _view(await self.db.transact(lambda tx: oversight.switch(tx, wanted, status, by)))

    def _by(self, request: Request[Any, Any, Any], admin: Admin, note: str) -> Operator:
        return Operator(admin.actor, self.clock.now(), request_id(request), note)


class AdminDeliveryRoutes(Controller):
    """The deliveries of all tenants; with state=dead, the dead letters."""

    path = "/v2/admin/webhooks/deliveries"
    tags = TAGS

    db: Database
    clock: Clock
    once: Once

    @get("/", operation_id="admin_list_deliveries", **admits(Right.LOOK, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        webhook_id: FromQuery[str | None] = None,
        in_state: InState = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminDeliveryView]:
        """Deliveries of all tenants, newest first."""
        wanted = DeliveryFilter(
            None if tenant_id is None else known_id(TenantId, tenant_id),
            webhook_id=None if webhook_id is None else known_id(WebhookId, webhook_id),
            state=in_state,
        )
        below = after(cursor)
        rows = await self.db.read(lambda tx: deliveries.listed(tx, wanted, below, limit + 1))
        return page(rows, limit, _delivery_view, lambda each: each.delivery_id)

    @get("/{delivery_id:str}", operation_id="admin_get_delivery", **admits(Right.LOOK, 404))
    async def one(self, delivery_id: FromPath[str]) -> AdminDeliveryDetail:
        """One delivery with every try."""
        wanted = DeliveryFilter(None, delivery_id=known_id(DeliveryId, delivery_id))
        found, attempts = await self.db.read(lambda tx: deliveries.get(tx, wanted))
        shown = msgspec.structs.asdict(delivery_detail(found, attempts))
        return AdminDeliveryDetail(**shown, tenant_id=str(found.tenant_id))

    @post(
        "/{delivery_id:str}/redeliver",
        status_code=202,
        operation_id="admin_redeliver",
        **admits(Right.STEER, 404, 409),
    )
    async def redeliver(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        delivery_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[AdminDeliveryView]:
        """Send it again, with a fresh schedule; one that is on its way is left to itself."""
        wanted = known_id(DeliveryId, delivery_id)
        by = Operator(admin.actor, self.clock.now(), request_id(request), data.note)

        async def work(tx: Tx) -> AdminDeliveryView:
            return _delivery_view(await oversight.redeliver(tx, wanted, by))

        return await self.once.answer(request, admin, idempotency_key, 202, work)


def _view(webhook: Webhook) -> AdminWebhookView:
    target, limited = fetch_target.read(webhook.target_url), webhook.mailbox_ids
    return AdminWebhookView(
        webhook_id=str(webhook.webhook_id),
        tenant_id=str(webhook.tenant_id),
        target_origin="" if isinstance(target, UrlFault) else target.origin,
        event_types=list(webhook.event_types),
        mailbox_ids=None if limited is None else [str(each) for each in limited],
        account_id=None if webhook.mailbox_id is None else str(webhook.mailbox_id),
        status=webhook.status,
        disabled_reason=webhook.disabled_reason,
        disabled_at=webhook.disabled_at,
        created_at=webhook.created_at,
    )


def _delivery_view(one: Delivery) -> AdminDeliveryView:
    return AdminDeliveryView(**msgspec.structs.asdict(delivery_view(one)), tenant_id=str(one.tenant_id))
