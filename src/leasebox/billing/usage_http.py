"""Routes of usage: a month's sums, and every metered act."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.params import QueryParameter

from leasebox.billing import usage
from leasebox.billing.http import AllowanceView
from leasebox.billing.model import unit_of
from leasebox.billing.prices import Meter
from leasebox.billing.usage import Allowance, MeteredAct, MeterSum
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, needs
from leasebox.values.clock import Clock
from leasebox.values.money import Usdc

Period = Annotated[str | None, QueryParameter(pattern=r"^[0-9]{4}-[0-9]{2}$", description="A UTC month like 2026-11.")]


class PriceSumView(msgspec.Struct):
    """A meter's use at one price version."""

    price_version: int
    unit_price_usdc: str
    events: int
    free_quantity: int
    paid_quantity: int
    amount_usdc: str


class MeterSumView(msgspec.Struct):
    """A meter's use in a month. unit: `call` or `recipient`."""

    meter: str
    unit: str
    events: int
    quantity: int
    free_quantity: int
    paid_quantity: int
    amount_usdc: str
    prices: list[PriceSumView]


class MeterAllowanceView(AllowanceView):
    meter: str


class SummaryView(msgspec.Struct):
    """A month's use. starts_at inclusive, ends_at exclusive. allowances: of the windows that run now."""

    period: str
    starts_at: datetime
    ends_at: datetime
    events: int
    total_usdc: str
    meters: list[MeterSumView]
    allowances: list[MeterAllowanceView]


class EventView(msgspec.Struct):
    """One metered call. amount_usdc = unit_price_usdc × paid_quantity; the free part cost nothing."""

    event_id: str
    occurred_at: datetime
    meter: str
    method: str
    path: str
    quantity: int
    free_quantity: int
    paid_quantity: int
    price_version: int
    unit_price_usdc: str
    amount_usdc: str
    proof_id: str | None
    agent_id: str | None
    request_id: str


class UsageRoutes(Controller):
    """What was metered."""

    path = "/v2/usage"
    tags = ["Paying"]

    db: Database
    clock: Clock

    @get("/summary", operation_id="usage_summary", **needs("billing:read"))
    async def summary(self, caller: Given[Caller], period: Period = None) -> SummaryView:
        """A month's quantities and amounts per meter; the present month by default."""
        now = self.clock.now()
        month = usage.month_of(now) if period is None else usage.month_named(period)

        async def body(tx: Tx) -> tuple[list[MeterSum], list[Allowance]]:
            return await usage.summary(tx, caller.tenant_id, month), await usage.allowances(tx, caller.tenant_id, now)

        sums, allowances = await self.db.read(body)
        return SummaryView(
            period=month.name,
            starts_at=month.start,
            ends_at=month.end,
            events=sum(each.events for each in sums),
            total_usdc=str(Usdc.total(each.amount for each in sums)),
            meters=[_meter_view(name, list(group)) for name, group in groupby(sums, lambda each: each.meter)],
            allowances=[
                MeterAllowanceView(each.limit, each.used, each.span, each.resets_at, each.meter) for each in allowances
            ],
        )

    @get("/events", operation_id="list_usage_events", **needs("billing:read"))
    async def events(
        self,
        caller: Given[Caller],
        period: Period = None,
        meter: Annotated[Meter | None, QueryParameter(description="Only this meter's.")] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[EventView]:
        """Every metered call, newest first."""
        month, below = None if period is None else usage.month_named(period), after(cursor)
        rows = await self.db.read(lambda tx: usage.listed(tx, caller.tenant_id, month, meter, below, limit + 1))
        return page(rows, limit, _event_view, lambda act: act.event.event_id)


def _meter_view(name: str, sums: Sequence[MeterSum]) -> MeterSumView:
    free, paid = sum(each.free_quantity for each in sums), sum(each.paid_quantity for each in sums)
    return MeterSumView(
        meter=name,
        unit=unit_of(name),
        events=sum(each.events for each in sums),
        quantity=free + paid,
        free_quantity=free,
        paid_quantity=paid,
        amount_usdc=str(Usdc.total(each.amount for each in sums)),
        prices=[
            PriceSumView(
                each.price_version,
                str(each.unit_price),
                each.events,
                each.free_quantity,
                each.paid_quantity,
                str(each.amount),
            )
            for each in sums
        ],
    )


def _event_view(act: MeteredAct) -> EventView:
    event = act.event
    return EventView(
        event_id=str(event.event_id),
        occurred_at=event.occurred_at,
        meter=event.meter,
        method=act.method,
        path=act.path,
        quantity=event.free_quantity + event.paid_quantity,
        free_quantity=event.free_quantity,
        paid_quantity=event.paid_quantity,
        price_version=event.price_version,
        unit_price_usdc=str(event.unit_price),
        amount_usdc=str(event.amount),
        proof_id=None if event.proof_id is None else str(event.proof_id),
        agent_id=None if act.agent_id is None else str(act.agent_id),
        request_id=act.request_id,
    )
