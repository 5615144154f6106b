"""Routes of the instance as a whole: figures now, figures over time, health."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, get
from litestar.params import FromQuery, QueryParameter

import leasebox
from leasebox.admin import series_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.errors import SpanTooLong
from leasebox.admin.model import Right
from leasebox.admin.series import Point, Step, filled, step_start
from leasebox.billing.usage import month_of
from leasebox.infra import migrate
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database, Tx
from leasebox.infra.reseal import SealedTable, Standing, standing
from leasebox.infra.web.listing import MomentText, moment
from leasebox.leases.model import LeasePolicy
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest, Unavailable
from leasebox.values.ids import lowest_id
from leasebox.values.money import Usdc
from leasebox.webhooks import deliveries
from leasebox.webhooks.alerts import AlertName, alerts

_MOST = {Step.HOUR: timedelta(days=31), Step.DAY: timedelta(days=366)}
_USUAL = {Step.HOUR: timedelta(days=1), Step.DAY: timedelta(days=30)}
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
Figure = Literal["signups", "leases", "messages", "usage", "revenue", "denials", "deliveries", "dead_deliveries"]
StepText = Annotated[Literal["hour", "day"], QueryParameter(description="Hours or days of UTC.")]


class OverviewView(msgspec.Struct):
    """Figures now. owed_usdc: on invoices, holds included; revenue: metered in this UTC month.

    deliveries_24h: of facts of these hours; dead_deliveries_24h: those of them that are dead."""

    at: datetime
    tenants_active: int
    tenants_suspended: int
    tenants_closed: int
    live_leases: int
    signups_24h: int
    leases_24h: int
    messages_24h: int
    usage_events_24h: int
    denials_24h: int
    webhooks_enabled: int
    deliveries_24h: int
    dead_deliveries_24h: int
    revenue_month_usdc: str
    balance_usdc: str
    held_usdc: str
    owed_usdc: str


class PointView(msgspec.Struct):
    """value: a count, for revenue an amount in USDC. starts_at: of the hour or day."""

    starts_at: datetime
    value: int | str


class SeriesView(msgspec.Struct):
    figure: str
    step: str
    since: datetime
    until: datetime
    points: list[PointView]


class JobView(msgspec.Struct):
    """What a periodic job has before it. oldest_at: since when the oldest of it waits."""

    job: str
    waiting: int
    oldest_at: datetime | None


class AlertView(msgspec.Struct):
    """What an operator should look at now. deliveries_late: an endpoint has waited for a minute or more to be tried;
    fan_out_late: facts wait for 15 seconds or more to be turned into deliveries; deliveries_dead: some died, and
    webhooks_disabled: some were disabled because they failed or said 410, within 24 hours. since: of the first."""

    alert: AlertName
    count: int
    since: datetime | None


class SealsView(msgspec.Struct):
    """How many rows of a table each master key seals. lost: those that are sealed with neither."""

    table: str
    current: int
    previous: int
    lost: int


class HealthView(msgspec.Struct):
    """migration: what the database is at, and what this version needs. redis: whether it answers.

    alerts: none where all is well. seals: of what stays sealed for long; kept answers, gone within a day,
    `leasebox secrets status` counts.
    """

    version: str
    at: datetime
    migration: str | None
    migration_needed: str
    redis: bool
    jobs: list[JobView]
    alerts: list[AlertView]
    seals: list[SealsView]


class AdminOverviewRoutes(Controller):
    """The instance as a whole."""

    path = "/v2/admin"
    tags = TAGS

    db: Database
    cache: Cache
    clock: Clock
    policy: LeasePolicy
    sealed: Sequence[SealedTable]

    @get("/overview", operation_id="admin_overview", **admits(Right.LOOK))
    async def overview(self) -> OverviewView:
        """Figures now, and of the last 24 hours."""
        now = self.clock.now()
        day, month = lowest_id(now - timedelta(hours=24)), lowest_id(month_of(now).start)
        row = await self.db.read(lambda tx: series_store.present(tx, now, day, month))
        counts = {name: row[name] for name in OverviewView.__struct_fields__ if name in row}
        return OverviewView(
            at=now,
            **counts,
            revenue_month_usdc=str(Usdc(row["revenue_month_micros"])),
            balance_usdc=str(Usdc(row["balance_micros"])),
            held_usdc=str(Usdc(row["held_micros"])),
            owed_usdc=str(Usdc(row["receivable_micros"])),
        )

    @get("/series", operation_id="admin_series", **admits(Right.LOOK))
    async def series(
        self,
        figure: FromQuery[Figure],
        step: StepText = "day",
        since: MomentText = None,
        until: MomentText = None,
    ) -> SeriesView:
        """One figure by hour or day, zeros included: at most 31 days by the hour, 366 by the day."""
        size, end = Step(step), moment(until, "until") or self.clock.now()
        if end < _EARLIEST:
            raise BadRequest("until lies before this instance.", fix="Give a later until, or leave it out.")
        start = step_start(moment(since, "since") or end - _USUAL[size], size)
        if start >= end:
            raise BadRequest("since is not before until.", fix="Give an earlier since, or leave both out.")
        if end - start > _MOST[size] + timedelta(days=1):
            raise SpanTooLong(f"{end - start} is too long by the {size}.")
        rows = await self.db.read(lambda tx: series_store.series(tx, figure, size, lowest_id(start), lowest_id(end)))
        points = filled({row["starts_at"]: row["value"] for row in rows}, start, end, size)
        return SeriesView(figure, size, start, end, [_point(figure, each) for each in points])

    @get("/health", operation_id="admin_health", **admits(Right.LOOK))
    async def health(self) -> HealthView:
        """Whether the parts answer, how much work is before each job, and what stands out."""
        now = self.clock.now()

        async def body(tx: Tx) -> Any:
            return await series_store.backlog(tx, now, now - self.policy.retention)

        rows = await self.db.read(body)
        depth = await self.db.read(lambda tx: deliveries.depth(tx, now))
        return HealthView(
            version=leasebox.__version__,
            at=now,
            migration=await self.db.revision(),
            migration_needed=migrate.revisions()[-1],
            redis=await self._redis_answers(),
            jobs=[
                *(JobView(row["job"], row["waiting"], row["oldest_at"]) for row in rows),
                JobView("fan_out", depth.facts, depth.oldest_fact),
                JobView("deliveries", depth.due, depth.oldest_due),
            ],
            alerts=[AlertView(each.alert, each.count, each.since) for each in alerts(depth, now)],
            seals=[_seals(await self.db.read(partial(standing, table=table))) for table in self.sealed],
        )

    async def _redis_answers(self) -> bool:
        try:
            await self.cache.ping()
        except Unavailable:
            return False
        return True


def _seals(found: Standing) -> SealsView:
    return SealsView(found.table, found.current, found.previous, sum(found.lost.values()))


def _point(figure: Figure, point: Point) -> PointView:
    value: int | str = str(Usdc(point.value)) if figure == "revenue" else point.value
    return PointView(point.starts_at, value)
