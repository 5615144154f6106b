"""Background work of billing: what time does to holds and allowances. The clock decides; this only tidies up."""

from leasebox.billing import service
from leasebox.billing.model import Released
from leasebox.infra.db import Database, Tx
from leasebox.values.clock import Clock
from leasebox.values.money import ZERO

_BATCH = 500


async def release_holds(db: Database, clock: Clock) -> Released:
    """Give expired holds back to their tenants; how many, and how much. Safe to run twice, late or never.

    No decision waits for it: whoever asks for a proof gives the tenant's own expired holds back first.
    """
    count, amount = 0, ZERO

    async def release(tx: Tx) -> Released:
        return await service.release_expired(tx, clock.now(), _BATCH)

    while True:
        batch = await db.transact(release)
        count, amount = count + batch.count, amount + batch.amount
        if batch.count < _BATCH:
            return Released(count, amount)


async def forget_windows(db: Database, clock: Clock) -> int:
    """Drop the counters of allowance windows that are long over; how many."""
    now = clock.now()
    return await db.transact(lambda tx: service.forget_windows(tx, now))
