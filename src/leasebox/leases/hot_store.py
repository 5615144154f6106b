"""SQL of the verbs that are called most; they are functions of the database (migrations/sql, 0014 and 0020)."""

from datetime import datetime, timedelta

from asyncpg import PostgresError, Record

from leasebox.billing import service as billing
from leasebox.billing.model import Asked
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.leases.model import LeaseOrder, expiring_at
from leasebox.values.ids import AuditId, EventId, LeaseId, MailboxId

_UNDONE = "LB001"
_ADMITTED, _ADMIT = billing.ADMITTED, billing.ADMIT
_GRANT = f"""
SELECT {_ADMITTED}, g.outcome AS granted, g.mailbox, g.metadata
FROM {_ADMIT} CROSS JOIN LATERAL grant_lease(
    a.outcome, $2, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $11, $23, $24, $25, $5, $26, $12, $27,
    a.paid_quantity * a.unit_price_micros, a.price_version) g
"""
_RELEASE = "SELECT outcome, mailbox_id, told FROM release_lease($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


async def grant(
    tx: Tx,
    asked: Asked,
    order: LeaseOrder,
    lease_id: LeaseId,
    address: str,
    password_hash: str,
    until: datetime,
    name_hold: timedelta,
) -> Record | str:
    """Admission and lease together. `granted` of the row: granted, or skipped where the call was not admitted.

    A text says why an admitted one was undone: no_agent, taken, beyond.
    """
    caller, at = asked.caller, asked.demand.at
    try:
        row = await tx.one(
            _GRANT,
            *billing.parameters(asked),
            order.agent_id,
            _within(caller),
            lease_id,
            MailboxId.new(at),
            address,
            order.domain,
            "generated" if order.local_part is None else "chosen",
            order.purpose,
            order.metadata,
            password_hash,
            until,
            until + name_hold,
            expiring_at(at, until),
            str(lease_id),
            AuditId.new(at),
        )
    except PostgresError as fault:
        if fault.sqlstate != _UNDONE:
            raise
        return str(fault.args[0])
    assert row is not None
    return row


async def release(
    tx: Tx, caller: Caller, lease_id: LeaseId, at: datetime, name_hold: timedelta, request_id: str
) -> Record:
    """outcome: released, again, frozen or unknown; told: there is a new fact."""
    row = await tx.one(
        _RELEASE,
        caller.tenant_id,
        lease_id,
        _within(caller),
        at,
        name_hold,
        caller.actor,
        str(lease_id),
        request_id,
        AuditId.new(at),
        EventId.new(at),
    )
    assert row is not None
    return row


def _within(caller: Caller) -> list[MailboxId] | None:
    return None if caller.mailbox_ids is None else list(caller.mailbox_ids)
