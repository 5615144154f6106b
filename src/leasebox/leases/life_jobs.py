"""Background work of leases: tell what the clock has done. No decision waits for it."""

from functools import partial

from leasebox.infra.db import Database
from leasebox.leases import life
from leasebox.values.clock import Clock

_BATCH = 500


async def tell_ends(db: Database, clock: Clock, *, batch: int = _BATCH) -> int:
    """Write the facts of leases that are about to end or have ended; how many. Safe to run late, twice, or on many
    machines."""
    total, taken = 0, batch
    while taken == batch:
        taken = await db.transact(partial(life.tell_due, at=clock.now(), limit=batch))
        total += taken
    return total
