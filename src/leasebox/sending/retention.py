"""How long send attempts are kept: as long as the mail of their lease, and until no bounce can come any more.

An attempt names people and holds what their servers said, so it goes when the lease's own mail does. But a bounce may
come days after, and must find its attempt to put the address on the tenant's list: so an attempt stays for GRACE after
the last moment at which it may have gone out. Counters of the mailbox, suppressions, usage and facts stay.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from leasebox.infra.db import Database, Tx
from leasebox.sending import attempts_store, retention_store
from leasebox.values.clock import Clock
from leasebox.values.ids import LeaseId, MailboxId, TenantId

GRACE: Final = timedelta(days=5)
"""How long other servers try before they give up, at least (RFC 5321 §4.5.4.1: 4 to 5 days)."""
_BATCH: Final = 200


async def leave_of_leases(tx: Tx, lease_ids: Sequence[LeaseId]) -> None:
    """The mail of these leases is being erased: their attempts go too, once their time is over. What was to go out
    after its lease's early end fails now, so that its text is kept no longer."""
    await retention_store.hurry_of_leases(tx, lease_ids)
    await retention_store.leave_of_leases(tx, lease_ids, GRACE)


async def leave_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, at: datetime) -> None:
    """The same for a mailbox that is erased; what of its mail no worker is handing over is taken back."""
    await attempts_store.cancel_of_mailbox(tx, tenant_id, mailbox_id, at)
    await retention_store.leave_of_mailbox(tx, tenant_id, mailbox_id, GRACE)


async def forget(db: Database, clock: Clock, *, batch: int = _BATCH) -> int:
    """Drop the attempts whose time is over; how many. Safe to run twice, late, or on many machines."""
    total, dropped = 0, batch
    while dropped == batch:
        dropped = await db.transact(partial(retention_store.forget, at=clock.now(), limit=batch))
        total += dropped
    return total
