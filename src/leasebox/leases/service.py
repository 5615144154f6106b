"""Verbs of leases: grant, renew, pause, resume, release, reset credentials; mailboxes; what mail may come in."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from leasebox.audit.service import record
from leasebox.billing.model import Admission
from leasebox.identity.model import Caller
from leasebox.identity.service import require_agent
from leasebox.infra.db import Tx
from leasebox.leases import domains_store, store
from leasebox.leases.errors import AddressTaken, MailboxFrozen, MailboxPaused, NoFreeAddress, UnknownDomain
from leasebox.leases.inbound import Hosting, Inbound, QuotaLedger, Route, Slot
from leasebox.leases.life import tell_released
from leasebox.leases.model import (
    RESERVED,
    RESERVED_EVERYWHERE,
    Granted,
    Lease,
    LeaseOrder,
    LeasePolicy,
    Mailbox,
    generate_name,
    generate_password,
    name_of,
)
from leasebox.leases.passwords import hashed
from leasebox.values.errors import Forbidden, NotFound
from leasebox.values.ids import AgentId, LeaseId, MailboxId, TenantId
from leasebox.values.secret import Secret

Erase = Callable[[Tx, TenantId, MailboxId, datetime], Awaitable[int]]
EraseOfLeases = Callable[[Tx, Sequence[LeaseId]], Awaitable[int]]
_GENERATED_TRIES = 3


async def grant(
    tx: Tx,
    caller: Caller,
    order: LeaseOrder,
    policy: LeasePolicy,
    at: datetime,
    request_id: str,
    admission: Admission | None = None,
) -> Granted:
    """Lease an address to an agent of the caller's tenant. admission: of a metered call; the audit row says its charge.

    Raises NotFound (agent), NameRefused, UnknownDomain (also for another tenant's), AddressTaken (409: leased, held for
    its last tenant, or a generated address, which is never issued twice), Forbidden (a credential limited to other
    mailboxes).
    """
    if order.domain not in policy.domains and not await domains_store.hold(tx, caller.tenant_id, order.domain):
        raise UnknownDomain(f"No mailboxes are leased at {order.domain}.")
    await require_agent(tx, caller.tenant_id, order.agent_id)
    password = generate_password()
    row = await _claim(tx, caller.tenant_id, order, policy, at, hashed(password))
    lease = _lease(row)
    if caller.mailbox_ids is not None and lease.mailbox_id not in caller.mailbox_ids:
        raise Forbidden("This credential is limited to some mailboxes and cannot lease others.")
    act = caller.act(at, request_id, "lease.grant", str(lease.lease_id))
    await record(tx, msgspec.structs.replace(act, detail={} if admission is None else admission.charged))
    return Granted(lease, password)


async def get(tx: Tx, caller: Caller, lease_id: LeaseId) -> Lease:
    """One lease. Raises NotFound, also for another tenant's and for one outside the caller's mailboxes."""
    row = await store.find(tx, caller.tenant_id, lease_id)
    if row is None:
        raise NotFound("No such lease.")
    lease = _lease(row)
    caller.reach(lease.mailbox_id)
    return lease


async def listed(tx: Tx, wanted: store.Filter, below: object, limit: int) -> list[Lease]:
    """Newest first."""
    return [_lease(row) for row in await store.listed(tx, wanted, below, limit)]


async def renew(
    tx: Tx, caller: Caller, lease_id: LeaseId, ttl: timedelta, policy: LeasePolicy, at: datetime, request_id: str
) -> Lease:
    """Let a lease run for `ttl` from now; never shortens it. Raises NotFound, LeaseEnded, MailboxFrozen."""
    before = await get(tx, caller, lease_id)
    row = await store.renew(tx, caller.tenant_id, lease_id, at + ttl, at, policy)
    if row is None:
        raise await _refusal(tx, caller, before, at)
    await record(tx, caller.act(at, request_id, "lease.renew", str(lease_id)))
    return _lease(row)


async def switch(tx: Tx, caller: Caller, lease_id: LeaseId, state: str, at: datetime, request_id: str) -> Lease:
    """Pause (`paused`) or resume (`active`) a lease. Raises NotFound, LeaseEnded, MailboxFrozen."""
    before = await get(tx, caller, lease_id)
    row = await store.switch(tx, caller.tenant_id, lease_id, state, at)
    if row is None:
        raise await _refusal(tx, caller, before, at)
    await record(tx, caller.act(at, request_id, f"lease.{'pause' if state == 'paused' else 'resume'}", str(lease_id)))
    return _lease(row)


async def reset_credentials(
    tx: Tx, caller: Caller, mailbox_id: MailboxId, at: datetime, request_id: str
) -> tuple[Mailbox, Secret]:
    """A new password under a live lease; the old one stops. Raises NotFound, LeaseEnded, MailboxFrozen."""
    mailbox = await get_mailbox(tx, caller, mailbox_id)
    password = generate_password()
    changed = await store.reset_password(tx, caller.tenant_id, mailbox.lease.lease_id, hashed(password), at)
    if not changed:
        raise await _refusal(tx, caller, mailbox.lease, at)
    await record(tx, caller.act(at, request_id, "credentials.reset", str(mailbox_id)))
    return mailbox, password


async def get_mailbox(tx: Tx, caller: Caller, mailbox_id: MailboxId) -> Mailbox:
    """One mailbox with its latest lease. Raises NotFound."""
    caller.reach(mailbox_id)
    row = await store.find_mailbox(tx, caller.tenant_id, mailbox_id)
    if row is None:
        raise NotFound("No such mailbox.")
    return _mailbox(row)


async def list_mailboxes(tx: Tx, caller: Caller, below: object, limit: int) -> list[Mailbox]:
    """Newest first, without erased ones."""
    within = None if caller.mailbox_ids is None else list(caller.mailbox_ids)
    return [_mailbox(row) for row in await store.list_mailboxes(tx, caller.tenant_id, below, within, limit)]


async def change_mailbox(
    tx: Tx, caller: Caller, mailbox_id: MailboxId, changes: dict[str, Any], at: datetime, request_id: str
) -> Mailbox:
    """Set `display_name` and `metadata`, whichever is given. Raises NotFound, MailboxFrozen."""
    (await get_mailbox(tx, caller, mailbox_id)).lease.require_unfrozen()
    if changes:
        await store.change_mailbox(tx, caller.tenant_id, mailbox_id, changes)
        await record(tx, caller.act(at, request_id, "mailbox.change", str(mailbox_id)))
    return await get_mailbox(tx, caller, mailbox_id)


async def erase_mailbox(
    tx: Tx, caller: Caller, mailbox_id: MailboxId, erase: Erase, policy: LeasePolicy, at: datetime, request_id: str
) -> None:
    """End the mailbox's lease and erase its mail at once. Raises NotFound, also the second time, and MailboxFrozen."""
    mailbox = await get_mailbox(tx, caller, mailbox_id)
    await store.release(tx, caller.tenant_id, mailbox.lease.lease_id, at, policy)
    await tell_released(tx, [mailbox.lease.lease_id], at)
    (await get(tx, caller, mailbox.lease.lease_id)).require_unfrozen()
    await store.erase_mailbox(tx, caller.tenant_id, mailbox_id, at)
    await store.mark_mailbox_purged(tx, caller.tenant_id, mailbox_id, at)
    await erase(tx, caller.tenant_id, mailbox_id, at)
    await record(tx, caller.act(at, request_id, "mailbox.erase", str(mailbox_id)))


async def route(tx: Tx, address: str) -> Route | None:
    """The latest lease behind an address; None when it was never leased."""
    return (await routes(tx, [address])).get(address)


async def routes(tx: Tx, addresses: Sequence[str]) -> dict[str, Route]:
    """The same for several; an address that was never leased is not among them."""
    return {row["address"]: _route(row) for row in await store.route(tx, addresses)}


async def route_at(tx: Tx, domain: str, address: str) -> Hosting | None:
    """The latest lease behind an address at a tenant's verified domain; None when the domain is nobody's."""
    row = await domains_store.route(tx, domain, address)
    if row is None:
        return None
    return Hosting(None if row["id"] is None else _route(row))


def reading_refusal(
    state: str, frozen_at: datetime | None, expires_at: datetime, at: datetime
) -> MailboxPaused | MailboxFrozen | None:
    """Why a message's lease lets nobody read now: frozen always, paused while it lasts; an ended one may be read."""
    if frozen_at is not None:
        return MailboxFrozen("The mailbox was frozen by an operator.")
    if state == "paused" and expires_at > at:
        return MailboxPaused("The mailbox is paused.")
    return None


async def take_mail(
    tx: Tx, wanted: Sequence[Sequence[str]], sizes: Sequence[int], policy: LeasePolicy, at: datetime
) -> list[tuple[Slot, ...] | Inbound]:
    """Decide a group of mails, each for several addresses, and count those taken against their leases' quotas.

    wanted: canonical addresses of each mail; sizes: bytes of each. The answer for each mail is one slot an address, or
    why the whole mail is refused. The leases stay locked, so what is decided here is still true at commit.
    """
    rows = await store.route_locked(tx, sorted({address for addresses in wanted for address in addresses}))
    routes = {row["address"]: _route(row) for row in rows}
    ledger = QuotaLedger(routes, policy, at)
    verdicts = [ledger.take(addresses, size) for addresses, size in zip(wanted, sizes, strict=True)]
    taken = ledger.taken()
    if not taken:
        return [verdict for verdict in verdicts if isinstance(verdict, Inbound)]
    await store.use(tx, *zip(*taken, strict=True))
    return [verdict if isinstance(verdict, Inbound) else _slots(verdict) for verdict in verdicts]


def _slots(routes: Sequence[Route]) -> tuple[Slot, ...]:
    return tuple(Slot(route.lease_id, route.mailbox_id, route.tenant_id) for route in routes)


async def give_back(tx: Tx, lease_id: LeaseId, size: int) -> None:
    """One message of `size` bytes was deleted: its room is free again."""
    await store.give_back(tx, lease_id, size, 1)


async def purge_due(
    tx: Tx, erase: EraseOfLeases, policy: LeasePolicy, at: datetime, limit: int, messages: int = 1_000
) -> tuple[int, int]:
    """Erase the mail of up to `limit` leases whose retention is over, about so many messages; how many that were."""
    due = await store.due_for_purge(tx, at - policy.retention, limit, messages)
    if not due:
        return 0, 0
    erased = await erase(tx, due)
    await store.mark_purged(tx, due, at)
    return len(due), erased


async def _claim(
    tx: Tx, tenant_id: TenantId, order: LeaseOrder, policy: LeasePolicy, at: datetime, password_hash: str
) -> Any:
    until = at + timedelta(hours=order.ttl_hours)
    if order.local_part is not None:
        reserved = RESERVED if order.domain in policy.domains else RESERVED_EVERYWHERE
        address = f"{name_of(order.local_part, reserved)}@{order.domain}"
        row = await store.grant(tx, tenant_id, order, address, "chosen", password_hash, policy, at, until)
        if row is None:
            raise AddressTaken(f"{address} is taken.")
        return row
    for _ in range(_GENERATED_TRIES):
        address = f"{generate_name()}@{order.domain}"
        row = await store.grant(tx, tenant_id, order, address, "generated", password_hash, policy, at, until)
        if row is not None:
            return row
    raise NoFreeAddress("No free address was found.", retry_after_s=1)


async def _refusal(tx: Tx, caller: Caller, before: Lease, at: datetime) -> Exception:
    """Why a guarded change touched nothing, judged on the row as it is now."""
    lease = await get(tx, caller, before.lease_id)
    try:
        lease.require_active(at)
    except Exception as refusal:  # noqa: BLE001 - handed to the caller, who raises it
        return refusal
    return NoFreeAddress("The lease changed at the same moment.", retry_after_s=1)


def _lease(row: Any) -> Lease:
    return Lease(
        LeaseId.of(row["id"]),
        TenantId.of(row["tenant_id"]),
        MailboxId.of(row["mailbox_id"]),
        AgentId.of(row["agent_id"]),
        row["address"],
        row["purpose"],
        row["metadata"],
        row["state"],
        row["frozen_at"],
        row["started_at"],
        row["expires_at"],
        row["released_at"],
        row["used_bytes"],
        row["used_messages"],
    )


def _route(row: Any) -> Route:
    return Route(
        LeaseId.of(row["id"]),
        TenantId.of(row["tenant_id"]),
        MailboxId.of(row["mailbox_id"]),
        row["state"],
        row["frozen_at"],
        row["expires_at"],
        row["used_bytes"],
        row["used_messages"],
    )


def _mailbox(row: Any) -> Mailbox:
    return Mailbox(
        MailboxId.of(row["m_id"]),
        row["address"],
        row["display_name"],
        row["m_metadata"],
        row["created_at"],
        row["erased_at"],
        _lease(row),
    )
