"""The durable log of public facts, written in the transaction that makes them true.

`xid` is the writing transaction's id: what is sealed stays below the snapshot's horizon
(`pg_snapshot_xmin(pg_current_snapshot())`), because a smaller id may become visible after a larger one. Readers go by
the positions of `facts_order`, which need not wait for it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, DateTime, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.types import UserDefinedType

from leasebox.infra.db import Tx, metadata
from leasebox.values.ids import EventId, LeaseId, MailboxId, TenantId

WAKE_NEW_FACTS = "new-facts"


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        del kw
        return "xid8"


facts = Table(
    "facts",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, nullable=False),
    Column("mailbox_id", UUID),
    Column("lease_id", UUID),
    Column("type", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Index(None, "tenant_id", "id"),
)


class Fact(msgspec.Struct, frozen=True):
    """Something public that happened to a tenant, and where it did to a mailbox of its, to which.

    type: as in `values/facts.py`; payload: ids, never mail text.
    """

    tenant_id: TenantId
    mailbox_id: MailboxId | None
    lease_id: LeaseId | None
    type: str
    payload: dict[str, Any]
    at: datetime


_APPEND = """
INSERT INTO facts (id, tenant_id, mailbox_id, lease_id, type, payload, at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::jsonb[], $7::timestamptz[])
"""


async def append(tx: Tx, happened: Sequence[Fact]) -> None:
    """Add facts to the log, in this order; wakes whoever gives them their places (`facts_order.number`)."""
    if not happened:
        return
    await tx.run(_APPEND, *columns(happened))
    tx.wake(WAKE_NEW_FACTS, "")


def columns(happened: Sequence[Fact]) -> tuple[list[Any], ...]:
    """Facts with new ids as arrays, in the order of `_APPEND`: for a verb whose statement appends them itself, and
    whose caller wakes as `append` does."""
    return (
        _ids(happened),
        [fact.tenant_id for fact in happened],
        [fact.mailbox_id for fact in happened],
        [fact.lease_id for fact in happened],
        [fact.type for fact in happened],
        [fact.payload for fact in happened],
        [fact.at for fact in happened],
    )


def _ids(happened: Sequence[Fact]) -> list[EventId]:
    """An id each; of facts of the same moment the later one gets the higher id, for these are told in that order."""
    ids = sorted(EventId.new(fact.at) for fact in happened)
    by_time = sorted(range(len(happened)), key=lambda index: happened[index].at)
    return [each for _, each in sorted(zip(by_time, ids, strict=True))]
