"""The verbs that are called most, each in one statement with all that belongs to it: for `Database.at_once`."""

from datetime import datetime, timedelta

from leasebox.billing import service as billing
from leasebox.billing.model import Asked
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import WAKE_NEW_FACTS
from leasebox.leases import hot_store
from leasebox.leases.errors import AddressTaken, MailboxFrozen, NameRefused
from leasebox.leases.model import (
    Granted,
    Lease,
    LeaseOrder,
    LeasePolicy,
    generate_name,
    generate_password,
    name_of,
)
from leasebox.leases.passwords import hashed
from leasebox.values.errors import Forbidden, NotFound
from leasebox.values.ids import LeaseId, MailboxId


def grants(order: LeaseOrder, policy: LeasePolicy) -> bool:
    """Whether `grant` can decide an order: one for a name that can be had, at a domain of the instance."""
    try:
        return order.domain in policy.domains and bool(order.local_part is None or name_of(order.local_part))
    except NameRefused:
        return False


async def grant(tx: Tx, order: LeaseOrder, policy: LeasePolicy, asked: Asked) -> Granted:
    """Admit the call and lease an address, as billing's `admit` and the service's `grant` do one after the other.

    Raises what they raise. An address that was drawn and exists already is a serialization failure: draw again.
    """
    at, password, lease_id = asked.demand.at, generate_password(), LeaseId.new(asked.demand.at)
    name = generate_name() if order.local_part is None else name_of(order.local_part)
    until, address = at + timedelta(hours=order.ttl_hours), f"{name}@{order.domain}"
    row = await hot_store.grant(tx, asked, order, lease_id, address, hashed(password), until, policy.name_hold)
    if isinstance(row, str):
        raise _refusal(row, address)
    billing.judge(asked, row)
    lease = Lease(
        lease_id,
        asked.caller.tenant_id,
        MailboxId.of(row["mailbox"]),
        order.agent_id,
        address,
        order.purpose,
        row["metadata"],
        "active",
        None,
        at,
        until,
        None,
        0,
        0,
    )
    return Granted(lease, password)


async def release(
    tx: Tx, caller: Caller, lease_id: LeaseId, policy: LeasePolicy, at: datetime, request_id: str
) -> MailboxId:
    """End a lease now; again: the same answer, the mailbox. A newer lease of the same address is not touched.

    Raises NotFound, MailboxFrozen.
    """
    row = await hot_store.release(tx, caller, lease_id, at, policy.name_hold, request_id)
    match row["outcome"]:
        case "unknown":
            raise NotFound("No such lease.")
        case "frozen":
            raise MailboxFrozen("The mailbox was frozen by an operator.")
    if row["told"]:
        tx.wake(WAKE_NEW_FACTS, "")
    return MailboxId.of(row["mailbox_id"])


def _refusal(outcome: str, address: str) -> Exception:
    if outcome == "no_agent":
        return NotFound("No such active agent.")
    if outcome == "taken":
        return AddressTaken(f"{address} is taken.")
    return Forbidden("This credential is limited to some mailboxes and cannot lease others.")
