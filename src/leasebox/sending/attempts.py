"""Verbs of send attempts: list them, look into one, take one back; a mailbox's counters and limit."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from asyncpg import Record

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.leases import service as leases
from leasebox.leases.model import SendCounters
from leasebox.sending import attempts_store as store
from leasebox.sending.errors import NotCancellable
from leasebox.sending.service import settle
from leasebox.values.errors import NotFound
from leasebox.values.ids import MailboxId, SendAttemptId, TenantId


class Attempt(msgspec.Struct, frozen=True):
    """A send attempt with all that is known of it; `tries` hold every reply of every server."""

    head: Record
    recipients: list[Record]
    hops: list[Record]
    tries: list[Record]


async def listed(
    tx: Tx, caller: Caller, mailbox_id: MailboxId | None, state: str | None, below: object, limit: int
) -> list[Record]:
    """Attempts of the caller's mailboxes, newest first. Raises NotFound for a mailbox that is not the caller's."""
    within = None if caller.mailbox_ids is None else list(caller.mailbox_ids)
    if mailbox_id is not None:
        await leases.get_mailbox(tx, caller, mailbox_id)
        within = [mailbox_id]
    return await store.listed(tx, caller.tenant_id, within, state, below, limit)


async def search(
    tx: Tx,
    tenant_id: TenantId | None,
    mailbox_id: MailboxId | None,
    state: str | None,
    below: object,
    limit: int,
) -> list[Record]:
    """Attempts of a tenant or of all, of a mailbox or of all, newest first: for admins."""
    return await store.search(tx, tenant_id, None if mailbox_id is None else [mailbox_id], state, below, limit)


async def get(tx: Tx, caller: Caller, attempt_id: SendAttemptId) -> Attempt:
    """One attempt. Raises NotFound."""
    found = await _whole(tx, attempt_id, await store.one(tx, caller.tenant_id, attempt_id))
    caller.reach(MailboxId.of(found.head["mailbox_id"]))
    return found


async def look(tx: Tx, attempt_id: SendAttemptId) -> Attempt:
    """One attempt of whichever tenant: for admins. Raises NotFound."""
    return await _whole(tx, attempt_id, await store.find_any(tx, attempt_id))


async def _whole(tx: Tx, attempt_id: SendAttemptId, head: Record | None) -> Attempt:
    if head is None:
        raise NotFound("No such send attempt.")
    recipients, hops = await store.recipients(tx, attempt_id), await store.hops(tx, attempt_id)
    return Attempt(head, recipients, hops, await store.tries(tx, attempt_id))


async def cancel(tx: Tx, caller: Caller, attempt_id: SendAttemptId, at: datetime, request_id: str) -> Attempt:
    """Take back what no worker is handing over: those recipients are tried no more. Who may have been reached by a try
    of unknown outcome has that in `reply_text`. What was charged stays charged.

    Raises NotFound, NotCancellable (409).
    """
    await get(tx, caller, attempt_id)
    await cancel_any(tx, attempt_id, caller.act(at, request_id, "send.cancel", str(attempt_id)))
    return await get(tx, caller, attempt_id)


async def cancel_any(tx: Tx, attempt_id: SendAttemptId, act: Act) -> None:
    """The same for an attempt that is known to be there, written down as `act`. Raises NotCancellable."""
    taken = await store.cancel(tx, attempt_id, act.at)
    if not taken:
        raise NotCancellable("Nothing of this attempt can be taken back any more.")
    await settle(tx, attempt_id, act.at)
    await record(tx, msgspec.structs.replace(act, detail={**act.detail, "recipients": taken}))


async def counters(
    tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId], at: datetime, daily_limit: int
) -> dict[MailboxId, SendCounters]:
    """What mailboxes have sent; daily_limit: that of mailboxes without one of their own."""
    nothing = SendCounters(daily_limit, 0, 0, 0, 0)
    found = dict.fromkeys(mailbox_ids, nothing)
    for row in await store.counters(tx, tenant_id, mailbox_ids, at):
        found[MailboxId.of(row["mailbox_id"])] = SendCounters(
            daily_limit if row["daily_send_limit"] is None else row["daily_send_limit"],
            row["sends_today"],
            row["total_sent"],
            row["bounce_count"],
            row["complaint_count"],
        )
    return found


async def limit_sends(tx: Tx, mailbox_id: MailboxId, limit: int | None, act: Act) -> None:
    """Let a mailbox send to so many recipients a UTC day; None: the instance's limit. Written down as `act`.

    Raises NotFound.
    """
    tenant_id = await store.set_limit(tx, mailbox_id, limit, act.at)
    if tenant_id is None:
        raise NotFound("No such mailbox.")
    await record(tx, msgspec.structs.replace(act, tenant_id=TenantId.of(tenant_id)))
