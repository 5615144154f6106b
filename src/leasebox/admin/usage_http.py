"""Routes of what was metered, over all tenants or one."""

from datetime import datetime
from typing import Annotated

import msgspec
from asyncpg import Record
from litestar import Controller, get
from litestar.params import FromQuery, QueryParameter

from leasebox.admin import views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.model import Right
from leasebox.billing import usage
from leasebox.billing.prices import Meter
from leasebox.billing.proof import ProofId
from leasebox.infra.db import Database
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import known_id
from leasebox.values.clock import Clock
from leasebox.values.ids import AgentId, EventId, TenantId
from leasebox.values.money import Usdc

Month = Annotated[
    str | None, QueryParameter(pattern=r"^[0-9]{4}-[0-9]{2}$", description="A month in UTC, such as 2026-11; now.")
]
OneMeter = Annotated[Meter | None, QueryParameter(description="Only this meter's.")]


class AdminEventView(msgspec.Struct):
    event_id: str
    tenant_id: str
    agent_id: str | None
    occurred_at: datetime
    meter: str
    method: str
    path: str
    free_quantity: int
    paid_quantity: int
    price_version: int
    unit_price_usdc: str
    amount_usdc: str
    proof_id: str | None
    request_id: str


class UsageSumView(msgspec.Struct):
    """One meter at one price version. tenants: how many used it."""

    meter: str
    price_version: int
    unit_price_usdc: str
    events: int
    tenants: int
    free_quantity: int
    paid_quantity: int
    amount_usdc: str


class AdminUsageSummaryView(msgspec.Struct):
    """tenant_id: null for all tenants."""

    period: str
    tenant_id: str | None
    events: int
    amount_usdc: str
    sums: list[UsageSumView]


class AdminUsageRoutes(Controller):
    """Metered use of all tenants."""

    path = "/v2/admin/usage"
    tags = TAGS

    db: Database
    clock: Clock

    @get("/events", operation_id="admin_list_usage_events", **admits(Right.LOOK, 404))
    async def events(
        self,
        period: Month = None,
        tenant_id: FromQuery[str | None] = None,
        meter: OneMeter = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminEventView]:
        """Every metered call of a month, newest first."""
        month, below = self._month(period), after(cursor)
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        before = month.below_id if below is None else min(below, month.below_id)
        rows = await self.db.read(
            lambda tx: views_store.usage_events(tx, tenant, month.first_id, before, meter, limit + 1)
        )
        return page(rows, limit, _event_view, lambda row: row["id"])

    @get("/summary", operation_id="admin_usage_summary", **admits(Right.LOOK, 404))
    async def summary(self, period: Month = None, tenant_id: FromQuery[str | None] = None) -> AdminUsageSummaryView:
        """What was used in a month, by meter and price version."""
        month = self._month(period)
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        rows = await self.db.read(lambda tx: views_store.usage_sums(tx, tenant, month.first_id, month.below_id))
        return AdminUsageSummaryView(
            period=month.name,
            tenant_id=tenant_id,
            events=sum(row["events"] for row in rows),
            amount_usdc=str(Usdc.total(Usdc(row["amount_micros"]) for row in rows)),
            sums=[_sum_view(row) for row in rows],
        )

    def _month(self, period: str | None) -> usage.Month:
        return usage.month_of(self.clock.now()) if period is None else usage.month_named(period)


def _event_view(row: Record) -> AdminEventView:
    return AdminEventView(
        event_id=str(EventId.of(row["id"])),
        tenant_id=str(TenantId.of(row["tenant_id"])),
        agent_id=None if row["agent_id"] is None else str(AgentId.of(row["agent_id"])),
        occurred_at=row["occurred_at"],
        meter=row["meter"],
        method=row["method"],
        path=row["path"],
        free_quantity=row["free_quantity"],
        paid_quantity=row["paid_quantity"],
        price_version=row["price_version"],
        unit_price_usdc=str(Usdc(row["unit_price_micros"])),
        amount_usdc=str(Usdc(row["amount_micros"])),
        proof_id=None if row["proof_id"] is None else str(ProofId.of(row["proof_id"])),
        request_id=row["request_id"],
    )


def _sum_view(row: Record) -> UsageSumView:
    return UsageSumView(
        meter=row["meter"],
        price_version=row["price_version"],
        unit_price_usdc=str(Usdc(row["unit_price_micros"])),
        events=row["events"],
        tenants=row["tenants"],
        free_quantity=row["free_quantity"],
        paid_quantity=row["paid_quantity"],
        amount_usdc=str(Usdc(row["amount_micros"])),
    )
