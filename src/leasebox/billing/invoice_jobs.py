"""The monthly close: months that are over become invoices. May run twice, late, at once, and be killed at any point.

It keeps no state that it could lose: events on no invoice are what is to be done, an event has one invoice, and a draft
that was begun is gone on with. `closed_months` only spares it the search of months that it has been through; a writer
that was still at work then is found by its number among writers, which is above the horizon of that search.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from leasebox.billing import closing_store, invoices, usage
from leasebox.billing.invoice_model import Invoice, Progress, Undrawn
from leasebox.billing.invoices import By
from leasebox.billing.statement import InvoiceId
from leasebox.billing.usage import Month
from leasebox.infra import log
from leasebox.infra.db import Database
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.ids import TenantId

GRACE = timedelta(minutes=15)
"""How long after its end a month is closed: calls that began in it, and clocks that are behind, come to their end."""


async def close_months(db: Database, clock: Clock) -> int:
    """Issue what is to be issued of all months that are over; how many invoices. Raises Unavailable."""
    closing = _Closing(db, clock)
    await closing.drafts()
    await closing.stragglers()
    await closing.months()
    await closing.nothing_due()
    return closing.issued


async def close_tenant(db: Database, clock: Clock, tenant_id: TenantId, month: Month) -> Invoice | Undrawn | None:
    """Draw up and issue one tenant's month in short steps; None: somebody else has issued it meanwhile."""
    draft = await db.transact(lambda tx: invoices.open_draft(tx, tenant_id, month, clock.now()))
    if isinstance(draft, Undrawn):
        return draft
    while not await db.transact(lambda tx: invoices.gather(tx, tenant_id, month, draft, clock.now())):
        pass
    return await db.transact(lambda tx: invoices.issue(tx, tenant_id, draft, _by(clock)))


class _Closing:
    """One run. A tenant whose invoice fails is told of in the log, tried again next time, and holds up nobody else."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self.issued = 0

    async def drafts(self) -> None:
        """Go on with what a run before has left."""
        for tenant_id, period in await self._db.read(closing_store.drafts):
            await self._close(tenant_id, usage.month_named(period))

    async def stragglers(self) -> None:
        """Supplements for what was committed after its month was closed."""
        done = await self._db.read(closing_store.progress)
        if done.period is None:
            return
        last, seen = usage.month_named(done.period), await self._db.read(closing_store.horizon)
        late = await self._db.read(lambda tx: closing_store.stragglers(tx, done.seen, seen, last))
        if all([await self._close(tenant_id, usage.month_of(start)) for tenant_id, start in late]):
            await self._db.transact(lambda tx: closing_store.set_seen(tx, last.name, seen))

    async def months(self) -> None:
        """Close what is over, the oldest month first; stop at one that cannot be closed yet."""
        # The horizon first: who is still at work now is not below it, however soon it ends.
        horizon = await self._db.read(closing_store.horizon)
        done = await self._db.read(closing_store.progress)
        seen = horizon if done.period is None else min(done.seen, horizon)
        first_event_at = await self._db.read(closing_store.first_event_at)
        for month in months_over(done, first_event_at, self._clock.now() - GRACE):
            if not await self._close_month(month, seen):
                return

    async def nothing_due(self) -> None:
        """Call paid what has been given back in full since it was issued."""
        for tenant_id, invoice_id in await self._db.read(closing_store.nothing_due):
            await self._settle(tenant_id, invoice_id)

    async def _close_month(self, month: Month, seen: int) -> bool:
        tenants = await self._db.read(lambda tx: closing_store.unbilled_tenants(tx, month))
        if not all([await self._close(tenant_id, month) for tenant_id in tenants]):
            return False
        await self._db.transact(lambda tx: closing_store.close(tx, month, seen, self._clock.now()))
        return True

    async def _settle(self, tenant_id: TenantId, invoice_id: InvoiceId) -> None:
        await self._db.transact(lambda tx: invoices.settle_if_nothing_due(tx, tenant_id, invoice_id, _by(self._clock)))

    async def _close(self, tenant_id: TenantId, month: Month) -> bool:
        """Whether nothing of the tenant's month is left to be drawn up."""
        try:
            outcome = await close_tenant(self._db, self._clock, tenant_id, month)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - one tenant's fault must not keep all others from their invoices
            log.get("worker").exception("invoice failed", tenant_id=str(tenant_id), period=month.name)
            return False
        self.issued += isinstance(outcome, Invoice)
        return outcome is not Undrawn.UNSETTLED


def months_over(done: Progress, first_event_at: datetime | None, now: datetime) -> Iterator[Month]:
    """The months after the last closed one, or from the first event's on, that end at `now` or before."""
    if done.period is not None:
        month = usage.month_of(usage.month_named(done.period).end)
    elif first_event_at is not None:
        month = usage.month_of(first_event_at)
    else:
        return
    while month.end <= now:
        yield month
        month = usage.month_of(month.end)


def _by(clock: Clock) -> By:
    return By("job:invoices", clock.now(), "job")
