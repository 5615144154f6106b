"""Background work of billing: what time does to holds and allowances. The clock decides; this only tidies up."""

from leasebox.billing import service
from leasebox.billing.model import Released
from leasebox.infra.db import Database, Tx
from leasebox.values.clock import Clock
from leasebox.values.money import ZERO

_TENANTS_AT_ONCE = 100


async def release_holds(db: Database, clock: Clock) -> Released:
    """Give expired holds back to their tenants. Safe to run twice, late or never.

    No decision waits for it: whoever asks for a proof gives the tenant's own expired holds back first.
    """

    async def release(tx: Tx) -> Released:
        return await service.release_due(tx, clock.now(), _TENANTS_AT_ONCE)

    tenants, holds, amount = 0, 0, ZERO
    while True:
        batch = await db.transact(release)
        tenants, holds, amount = tenants + batch.tenants, holds + batch.holds, amount + batch.amount
        # A proof that was just being spent is due again next time; without this two such could keep us here.
        if batch.tenants < _TENANTS_AT_ONCE or not batch.holds:
            return Released(tenants, holds, amount)


async def forget_windows(db: Database, clock: Clock) -> int:
    """Drop the counters of allowance windows that are long over; how many."""
    now = clock.now()
    return await db.transact(lambda tx: service.forget_windows(tx, now))
