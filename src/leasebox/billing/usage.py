"""What was metered: events, sums of a month, allowances; and the log that closing and sealing read."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from asyncpg import Record

from leasebox.billing import store
from leasebox.billing.proof import ProofId
from leasebox.billing.statement import UsageEvent
from leasebox.infra.db import Tx
from leasebox.values.errors import BadRequest
from leasebox.values.ids import AgentId, EventId, TenantId
from leasebox.values.money import Usdc


class Month(NamedTuple):
    """A calendar month in UTC, `2026-11`: from `start` to before `end`."""

    name: str
    start: datetime
    end: datetime

    @property
    def first_id(self) -> uuid.UUID:
        """No id made in this month is lower: a UUIDv7 begins with its millisecond."""
        return _lowest_id(self.start)

    @property
    def below_id(self) -> uuid.UUID:
        """All ids made in this month are lower."""
        return _lowest_id(self.end)


class MeteredAct(msgspec.Struct, frozen=True):
    """A usage event with what called it."""

    event: UsageEvent
    agent_id: AgentId | None
    method: str
    path: str
    request_id: str


class MeterSum(msgspec.Struct, frozen=True):
    """All events of one meter at one price version in a month."""

    meter: str
    price_version: int
    unit_price: Usdc
    events: int
    free_quantity: int
    paid_quantity: int
    amount: Usdc


class Allowance(msgspec.Struct, frozen=True):
    """What is free of a meter in the window that runs now. used: units, at most `limit` unless that was lowered."""

    meter: str
    limit: int
    used: int
    span: str
    resets_at: datetime


class LogPlace(NamedTuple):
    """Where a reader of the log stands: behind this event."""

    xid: int
    event_id: uuid.UUID


LOG_START = LogPlace(0, uuid.UUID(int=0))


def month_named(text: str) -> Month:
    """Read `2026-11`. Raises BadRequest (400)."""
    try:
        start = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC) if len(text) == len("2026-11") else None
    except ValueError:
        start = None
    if start is None or not 2000 <= start.year < 9999:
        raise BadRequest("period is no month.", fix="Write a month like 2026-11.")
    return _month(start)


def month_of(at: datetime) -> Month:
    """The month that holds a moment."""
    return _month(at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0))


async def listed(
    tx: Tx, tenant_id: TenantId, month: Month | None, meter: str | None, below: uuid.UUID | None, limit: int
) -> list[MeteredAct]:
    """A tenant's events, newest first: of one month, or all there are."""
    first = uuid.UUID(int=0) if month is None else month.first_id
    last = uuid.UUID(int=2**128 - 1) if month is None else month.below_id
    rows = await store.list_events(tx, tenant_id, first, last if below is None else min(below, last), meter, limit)
    return [
        MeteredAct(
            event_of(row),
            None if row["agent_id"] is None else AgentId.of(row["agent_id"]),
            row["method"],
            row["path"],
            row["request_id"],
        )
        for row in rows
    ]


async def events_of(tx: Tx, tenant_id: TenantId, month: Month) -> list[UsageEvent]:
    """All of a tenant's events of a month that are committed, in order of id: what its statement is made of.

    A call that began in the month may commit shortly after its end; whoever closes a month waits until the log
    (`read_log`) has passed its end.
    """
    return [event_of(row) for row in await store.events_of(tx, tenant_id, month.first_id, month.below_id)]


async def summary(tx: Tx, tenant_id: TenantId, month: Month) -> list[MeterSum]:
    """Sums per meter and price version, sorted by them."""
    return [
        MeterSum(
            row["meter"],
            row["price_version"],
            Usdc(row["unit_price_micros"]),
            row["events"],
            row["free_quantity"],
            row["paid_quantity"],
            Usdc(row["amount_micros"]),
        )
        for row in await store.sums(tx, tenant_id, month.first_id, month.below_id)
    ]


async def allowances(tx: Tx, tenant_id: TenantId, at: datetime) -> list[Allowance]:
    """What is free and used of each meter now."""
    return [
        Allowance(row["meter"], row["free_units"], row["used"], row["span"], row["resets_at"])
        for row in await store.allowances(tx, tenant_id, at)
    ]


async def read_log(tx: Tx, place: LogPlace, limit: int) -> tuple[list[UsageEvent], LogPlace]:
    """The next events of all tenants behind a place, and the new place.

    Their order is that of the writing transactions, and it stops short of those that still run. So nothing is missed
    when an event with a smaller id commits after one with a larger id, and reading it again gives the same order.
    """
    rows: Sequence[Record] = await store.log(tx, place.xid, place.event_id, limit)
    behind = LogPlace(rows[-1]["xid"], rows[-1]["id"]) if rows else place
    return [event_of(row) for row in rows], behind


def event_of(row: Record) -> UsageEvent:
    """A stored event as statements know it."""
    return UsageEvent(
        EventId.of(row["id"]),
        TenantId.of(row["tenant_id"]),
        row["occurred_at"],
        row["meter"],
        row["price_version"],
        Usdc(row["unit_price_micros"]),
        row["free_quantity"],
        row["paid_quantity"],
        None if row["proof_id"] is None else ProofId.of(row["proof_id"]),
    )


def _month(start: datetime) -> Month:
    end = start.replace(year=start.year + 1, month=1) if start.month == 12 else start.replace(month=start.month + 1)
    return Month(f"{start:%Y-%m}", start, end)


def _lowest_id(at: datetime) -> uuid.UUID:
    return uuid.UUID(int=int(at.timestamp()) * 1000 << 80)
