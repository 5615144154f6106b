"""The life of leases as facts: that one is about to end, has ended by the clock, or was given up."""

from collections.abc import Collection, Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, append
from leasebox.leases import life_store
from leasebox.values.clock import rfc3339
from leasebox.values.errors import NotFound
from leasebox.values.facts import LEASE_EXPIRED, LEASE_EXPIRING, LEASE_RELEASED
from leasebox.values.ids import LeaseId, MailboxId, TenantId


async def tell_due(tx: Tx, at: datetime, limit: int) -> int:
    """Write the facts that are due at a moment: of each lease and end `lease.expiring` and `lease.expired` once.

    A lease whose end has come before anybody told of its approach is only told to have expired. Returns how many
    leases were taken; with `limit` of them there may be more.
    """
    due = await life_store.take_due(tx, at, limit)
    await append(tx, [_fact(row, LEASE_EXPIRED if row["ended"] else LEASE_EXPIRING, at) for row in due])
    return len(due)


async def tell_released(tx: Tx, lease_ids: Sequence[LeaseId], at: datetime) -> None:
    """Write `lease.released` of those of these leases that were released just now.

    Call it in the transaction that releases. A lease that was told to have expired has ended once, not twice.
    """
    released = await life_store.take_released(tx, lease_ids)
    await append(tx, [_fact(row, LEASE_RELEASED, at) for row in released])


async def last_end(tx: Tx, tenant_id: TenantId, mailbox_ids: Collection[MailboxId]) -> datetime | None:
    """When the last lease of these mailboxes ended; None while one lasts, or its end has not been told yet."""
    return await life_store.last_end(tx, tenant_id, list(mailbox_ids))


async def require_mailboxes(tx: Tx, caller: Caller, mailbox_ids: Collection[MailboxId]) -> Sequence[Record]:
    """That all of these mailboxes are the caller's, erased ones included. Raises NotFound.

    Gives of each one's latest lease what `service.reading_refusal` asks for: state, frozen_at, expires_at.
    """
    for mailbox_id in mailbox_ids:
        caller.reach(mailbox_id)
    wanted = set(mailbox_ids)
    found = await life_store.latest(tx, caller.tenant_id, list(wanted)) if wanted else []
    if len(found) < len(wanted):
        raise NotFound("No such mailbox.")
    return found


def _fact(row: Record, type_: str, at: datetime) -> Fact:
    lease_id, mailbox_id = LeaseId.of(row["id"]), MailboxId.of(row["mailbox_id"])
    payload = {
        "lease_id": str(lease_id),
        "mailbox_id": str(mailbox_id),
        "expires_at": rfc3339(row["expires_at"]),
    }
    return Fact(TenantId.of(row["tenant_id"]), mailbox_id, lease_id, type_, payload, at)
