"""Background work of the audit: seal what was written since last time."""

from collections.abc import Sequence
from functools import partial

from leasebox.audit.errors import BrokenLog
from leasebox.audit.seal import seal_next
from leasebox.audit.tables import Log
from leasebox.infra import log as program_log
from leasebox.infra.db import Database
from leasebox.values.clock import Clock
from leasebox.values.keys import DerivedKey

_BATCH = 1_000
# A backlog does not keep a process from stopping: what is left waits for the next round.
_BATCHES = 100


async def seal(db: Database, logs: Sequence[Log], key: DerivedKey, clock: Clock, *, batch: int = _BATCH) -> int:
    """Seal all ripe rows of these logs, a batch in each transaction; how many.

    Safe to run late, twice, on many machines, and to be killed. A log that was tampered with is reported and left
    alone, the others go on. Raises Unavailable.
    """
    return sum([await _seal_one(db, log, key, clock, batch) for log in logs])


async def _seal_one(db: Database, log: Log, key: DerivedKey, clock: Clock, batch: int) -> int:
    total = 0
    for _ in range(_BATCHES):
        try:
            count = await db.transact(partial(seal_next, log=log, key=key, now=clock.now(), limit=batch))
        except BrokenLog as fault:
            program_log.get("audit").error("log not sealed", log=log.name, fault=str(fault))
            break
        total += count
        if count < batch:
            break
    return total
