"""The order of the public log: facts are numbered once they are committed, and read by these positions.

A fact's id is made before its commit, so a reader by id would pass over what commits late. Here one writer at a time
gives positions to what it can see; whoever sees a position sees all below it, and no fact is ever passed over: the
writer keeps the snapshot that it looked through last, and looks next at exactly what that did not show yet. A
transaction that stays open for long keeps back only its own facts.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Record
from sqlalchemy import BigInteger, CheckConstraint, Column, Index, SmallInteger, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import UUID

from leasebox.infra.db import Tx, metadata
from leasebox.values.clock import rfc3339
from leasebox.values.facts import FACTS, PUBLIC, Event
from leasebox.values.ids import EventId, LeaseId, MailboxId, TenantId

WAKE_FACTS = "facts"
"""Wakes readers after `number`: with "" whoever reads all tenants' facts, with a tenant's id who reads its own."""

BATCH = 1_000
"""How many facts a round numbers, or fans out, at most; a full one is followed by the next at once."""

fact_positions = Table(
    "fact_positions",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("fact_id", UUID, nullable=False),
    Column("tenant_id", UUID, nullable=False),
    UniqueConstraint("fact_id"),
    Index(None, "tenant_id", "position"),
)

# One row, whose lock makes one writer. seen: the pg_snapshot through which facts were looked for last.
fact_sequence = Table(
    "fact_sequence",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("next_position", BigInteger, nullable=False),
    Column("seen", Text, nullable=False),
    CheckConstraint("one = 1", name="one"),
)


class PublishedFact(msgspec.Struct, frozen=True):
    """A fact with its place in the log. Fields as in `facts_log.Fact`; position: from 1, with gaps for a tenant."""

    position: int
    event_id: EventId
    tenant_id: TenantId
    mailbox_id: MailboxId | None
    lease_id: LeaseId | None
    type: str
    payload: dict[str, Any]
    at: datetime


class Stretch(msgspec.Struct, frozen=True):
    """The next part of the log, looked through from a position on.

    facts: the public ones in it; until: where to go on from, past those that are told to nobody; looked: how many
    facts were looked at in all, as many as the limit when there may be more.
    """

    facts: list[PublishedFact]
    until: int
    looked: int


_NUMBER = "SELECT numbered, tenants FROM number_facts($1)"


async def number(tx: Tx, most: int = BATCH) -> int:
    """Give positions to facts that were committed since last time, at most `most`; how many. Wakes their readers.

    0 also when another process is at it.
    """
    row = await tx.one(_NUMBER, most)
    if row is None or not row["numbered"]:
        return 0
    tx.wake(WAKE_FACTS, "")
    for tenant_id in row["tenants"]:
        tx.wake(WAKE_FACTS, str(TenantId.of(tenant_id)))
    return int(row["numbered"])


# Facts are fetched one by one by their ids: a planner that expects to filter out most of them would read all there are.
_SELECT = """
SELECT p.position, f.id, f.tenant_id, f.mailbox_id, f.lease_id, f.type, f.payload, f.at
FROM fact_positions AS p CROSS JOIN LATERAL (SELECT * FROM facts WHERE id = p.fact_id OFFSET 0) AS f
"""
_AFTER = f"""{_SELECT}
WHERE p.tenant_id = $1 AND p.position > $2 AND f.type = ANY($4::text[])
AND ($5::uuid[] IS NULL OR f.mailbox_id = ANY($5::uuid[]))
ORDER BY p.position LIMIT $3
"""
_WALK = f"{_SELECT} WHERE p.tenant_id = $1 AND p.position > $2 ORDER BY p.position LIMIT $3"
_WALK_ANY = f"{_SELECT} WHERE p.position > $1 ORDER BY p.position LIMIT $2"
_BEFORE = f"""{_SELECT}
WHERE p.tenant_id = $1 AND p.position < $2 AND f.type = ANY($4::text[])
AND ($5::uuid[] IS NULL OR f.mailbox_id = ANY($5::uuid[]))
ORDER BY p.position DESC LIMIT $3
"""


async def after(
    tx: Tx,
    tenant_id: TenantId,
    position: int,
    limit: int,
    types: Collection[str] = PUBLIC,
    mailbox_ids: Sequence[MailboxId] | None = None,
) -> list[PublishedFact]:
    """A tenant's next public facts behind a position, oldest first.

    types: only these, of the public ones; mailbox_ids: only facts of these, None: also those of no mailbox.
    """
    wanted = [each for each in PUBLIC if each in types]
    return list(map(_published, await tx.all(_AFTER, tenant_id, position, limit, wanted, mailbox_ids)))


async def before(
    tx: Tx,
    tenant_id: TenantId,
    position: int,
    limit: int,
    types: Collection[str] = PUBLIC,
    mailbox_ids: Sequence[MailboxId] | None = None,
) -> list[PublishedFact]:
    """The same from a position backwards, newest first."""
    wanted = [each for each in PUBLIC if each in types]
    return list(map(_published, await tx.all(_BEFORE, tenant_id, position, limit, wanted, mailbox_ids)))


async def walk(tx: Tx, tenant_id: TenantId, position: int, limit: int) -> Stretch:
    """A tenant's next facts behind a position, for a reader that goes on and on: no fact is looked at twice."""
    return _stretch(await tx.all(_WALK, tenant_id, position, limit), position)


async def after_any(tx: Tx, position: int, limit: int) -> Stretch:
    """The same over all tenants: for a fan-out, which keeps `until` as its own position."""
    return _stretch(await tx.all(_WALK_ANY, position, limit), position)


_POSITION_OF = """
SELECT p.position FROM fact_positions AS p JOIN facts AS f ON f.id = p.fact_id
WHERE p.fact_id = $2 AND p.tenant_id = $1 AND ($3::uuid[] IS NULL OR f.mailbox_id = ANY($3::uuid[]))
"""
_NEWEST = "SELECT position, fact_id FROM fact_positions WHERE tenant_id = $1 ORDER BY position DESC LIMIT 1"
_LAST = "SELECT coalesce(max(position), 0) FROM fact_positions WHERE tenant_id = $1"
_LAST_ANY = "SELECT coalesce(max(position), 0) FROM fact_positions"


async def position_of(
    tx: Tx, tenant_id: TenantId, event_id: EventId, mailbox_ids: Sequence[MailboxId] | None = None
) -> int | None:
    """Where a tenant's fact stands; None if it has no such fact, or not of these mailboxes."""
    found: int | None = await tx.value(_POSITION_OF, tenant_id, event_id, mailbox_ids)
    return found


async def newest(tx: Tx, tenant_id: TenantId) -> tuple[int, EventId] | None:
    """A tenant's newest fact: where it stands, and its id."""
    row = await tx.one(_NEWEST, tenant_id)
    return None if row is None else (row["position"], EventId.of(row["fact_id"]))


async def last_position(tx: Tx, tenant_id: TenantId) -> int:
    """The position of a tenant's newest fact, 0 if it has none."""
    return int(await tx.value(_LAST, tenant_id))


async def last_position_of_any(tx: Tx) -> int:
    """The position of the newest fact of all, 0 if there is none."""
    return int(await tx.value(_LAST_ANY))


def envelope(fact: PublishedFact) -> Event:
    """The fact as it is told to the outside, through whichever door."""
    return Event(
        event_id=str(fact.event_id),
        type=fact.type,
        created_at=rfc3339(fact.at),
        tenant_id=str(fact.tenant_id),
        mailbox_id=str(fact.mailbox_id) if fact.mailbox_id else None,
        lease_id=str(fact.lease_id) if fact.lease_id else None,
        data=fact.payload,
    )


def _stretch(rows: Sequence[Record], position: int) -> Stretch:
    facts = [_published(row) for row in rows if row["type"] in FACTS]
    return Stretch(facts, rows[-1]["position"] if rows else position, len(rows))


def _published(row: Record) -> PublishedFact:
    mailbox, lease = row["mailbox_id"], row["lease_id"]
    return PublishedFact(
        position=row["position"],
        event_id=EventId.of(row["id"]),
        tenant_id=TenantId.of(row["tenant_id"]),
        mailbox_id=MailboxId.of(mailbox) if mailbox else None,
        lease_id=LeaseId.of(lease) if lease else None,
        type=row["type"],
        payload=row["payload"],
        at=row["at"],
    )
