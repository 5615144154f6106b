"""Routes of webhook deliveries."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs
from leasebox.values.clock import Clock
from leasebox.values.ids import DeliveryId, WebhookId
from leasebox.webhooks import deliveries, service
from leasebox.webhooks.model import Attempt, Delivery, DeliveryFilter, State

# Litestar keeps the plain word for itself.
InState = Annotated[
    Literal["pending", "delivering", "succeeded", "failed", "dead"] | None,
    QueryParameter(name="state", description="Only deliveries that stand so."),
]


class DeliveryView(msgspec.Struct):
    """state: pending, delivering, succeeded, failed (it is tried again at next_attempt_at) or dead (it is not, unless
    you ask for it). event_id: the webhook-id it is sent under. last_error: a word where no status came."""

    delivery_id: str
    webhook_id: str
    event_id: str
    event_type: str
    state: State
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_status_code: int | None
    last_error: str | None


class AttemptView(msgspec.Struct):
    """error: timeout, name_not_found, address_refused, connect_failed, tls_failed, connection_lost, bad_answer,
    secret_lost, internal, or unknown (we ended before we could tell). took_ms: null then."""

    number: int
    at: datetime
    took_ms: int | None
    status_code: int | None
    error: str | None


class DeliveryDetail(DeliveryView):
    """attempts: every try, oldest first. Neither requests nor answers are kept."""

    attempts: list[AttemptView]


class DeliveryRoutes(Controller):
    """What became of each fact at each webhook."""

    path = "/v2/webhooks/deliveries"
    tags = ["Webhooks"]

    db: Database
    clock: Clock
    once: Once

    @get("/", operation_id="list_deliveries", **needs("webhook:write", 404))
    async def listed(
        self,
        caller: Given[Caller],
        webhook_id: FromQuery[str | None] = None,
        in_state: InState = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[DeliveryView]:
        """Your deliveries of the last 30 days, newest first."""
        webhook = None if webhook_id is None else known_id(WebhookId, webhook_id)
        below, wanted = after(cursor), _mine(caller, webhook_id=webhook, state=in_state)

        async def body(tx: Tx) -> list[Delivery]:
            if webhook is not None:
                await service.get(tx, caller, webhook)
            return await deliveries.listed(tx, wanted, below, limit + 1)

        rows = await self.db.read(body)
        return page(rows, limit, delivery_view, lambda each: each.delivery_id)

    @get("/{delivery_id:str}", operation_id="get_delivery", **needs("webhook:write", 404))
    async def one(self, caller: Given[Caller], delivery_id: FromPath[str]) -> DeliveryDetail:
        """One delivery with every try."""
        wanted = _mine(caller, delivery_id=known_id(DeliveryId, delivery_id))
        return delivery_detail(*await self.db.read(lambda tx: deliveries.get(tx, wanted)))

    @post("/{delivery_id:str}/redeliver", status_code=202, operation_id="redeliver", **needs("webhook:write", 404, 409))
    async def redeliver(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        delivery_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[DeliveryView]:
        """Send it again, with a fresh schedule; one that is on its way is left to itself."""
        now = self.clock.now()
        wanted = _mine(caller, delivery_id=known_id(DeliveryId, delivery_id))

        async def work(tx: Tx) -> DeliveryView:
            return delivery_view((await deliveries.redeliver(tx, wanted, now))[0])

        return await self.once.answer(request, caller, idempotency_key, 202, work)


def delivery_view(one: Delivery) -> DeliveryView:
    """A delivery as the API shows it."""
    return DeliveryView(
        delivery_id=str(one.delivery_id),
        webhook_id=str(one.webhook_id),
        event_id=str(one.event_id),
        event_type=one.event_type,
        state=one.state,
        attempt_count=one.attempts,
        next_attempt_at=one.next_attempt_at,
        created_at=one.created_at,
        finished_at=one.finished_at,
        last_status_code=one.last_status_code,
        last_error=one.last_error,
    )


def delivery_detail(one: Delivery, attempts: list[Attempt]) -> DeliveryDetail:
    """The same with its tries."""
    views = [AttemptView(**msgspec.structs.asdict(each)) for each in attempts]
    return DeliveryDetail(**msgspec.structs.asdict(delivery_view(one)), attempts=views)


def _mine(caller: Caller, **wanted: Any) -> DeliveryFilter:
    within = None if caller.mailbox_ids is None else sorted(caller.mailbox_ids)
    return DeliveryFilter(caller.tenant_id, within, **wanted)
