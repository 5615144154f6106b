"""SQL of what is read most, admitted to and read in one statement: the newest messages, and the next one."""

from collections.abc import Sequence
from functools import cache

from asyncpg import PostgresError, Record

from leasebox.billing import service as billing
from leasebox.billing.model import Asked
from leasebox.infra.db import Tx
from leasebox.mail.model import Query
from leasebox.mail.reading_store import MESSAGE_COLUMNS, next_of

_UNDONE = "LB001"
# Two columns stay the JSON that they are.
_COLUMNS = ", ".join(
    f"{name}::text AS {name.removeprefix('m.')}" if name in ("m.recipients", "m.auth") else name
    for name in MESSAGE_COLUMNS.split(", ")
)
# `look_into` comes between admission and list, so that each waits for the one before; the list is that of `readable`.
_LIST = """
SELECT {admitted}, page.* FROM {admit}
CROSS JOIN LATERAL look_into(a.outcome, $2, $13, $11) AS open
LEFT JOIN LATERAL (
    SELECT {columns} FROM messages m JOIN leases l ON l.id = m.lease_id
    WHERE open AND {of_tenant} AND l.frozen_at IS NULL AND l.expires_at > $14
        AND (l.state <> 'paused' OR l.expires_at <= $11){narrowed}
    ORDER BY m.id DESC LIMIT $15
) page ON true
"""
# Each waits for the one before it: the wall, the message behind it, and the admission to it.
_NEXT = """
SELECT {admitted}, n.* FROM (SELECT stand_behind($2) AS tenant OFFSET 0) s CROSS JOIN LATERAL ({next}) n
CROSS JOIN LATERAL {admit}
"""
_ADMIT_TO_IT = billing.ADMIT_IF.format(condition="n.id IS NOT NULL")


async def listed(tx: Tx, asked: Asked, query: Query, below: object, limit: int) -> Sequence[Record] | str:
    """`recipients` and `auth` are JSON text. At least one row, each with the admission; an empty list's has no `id`.

    A text says why an admitted call was undone: unknown, frozen, paused.
    """
    ends = query.at - query.retention
    values = [*billing.parameters(asked), query.mailbox_id, ends, limit, *([] if below is None else [below])]
    narrowed = "" if query.mailbox_id is None else " AND m.mailbox_id = $13"
    narrowed += "" if below is None else " AND m.id < $16"
    try:
        return await tx.all(_statement(narrowed), *values)
    except PostgresError as fault:
        if fault.sqlstate != _UNDONE:
            raise
        return str(fault.args[0])


async def next_after(tx: Tx, asked: Asked, query: Query, seq: int) -> Record | None:
    """The next message with the admission to it; None, and nothing was admitted, when there is none."""
    admission = billing.parameters(asked)
    sql, values = next_of(query, seq, "s.tenant", len(admission))
    return await tx.one(_NEXT.format(admitted=billing.ADMITTED, next=sql, admit=_ADMIT_TO_IT), *admission, *values)


@cache
def _statement(narrowed: str) -> str:
    # A mailbox's list has an index in its order. A plan made for any limit would read all of the tenant's index beside
    # it (5 ms of 6 at a million messages), unless the tenant is asked for in a form that no index knows.
    of_tenant = "m.tenant_id IS NOT DISTINCT FROM $2" if "mailbox_id" in narrowed else "m.tenant_id = $2"
    parts = {"admitted": billing.ADMITTED, "admit": billing.ADMIT, "columns": _COLUMNS}
    return _LIST.format(**parts, of_tenant=of_tenant, narrowed=narrowed)
