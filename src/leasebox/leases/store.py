"""SQL of leases. Each change of state is one guarded statement; the clock's time is always a parameter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record
from sqlalchemy import Select, and_, not_, or_, select

from leasebox.infra.db import Tx
from leasebox.leases.model import LeaseOrder, LeasePolicy, expiring_at
from leasebox.leases.tables import leases, mailboxes
from leasebox.values.ids import Id, LeaseId, MailboxId, TenantId

_LEASE = """
l.id, l.tenant_id, l.mailbox_id, l.agent_id, m.address, l.purpose, l.metadata, l.state, l.frozen_at, l.started_at,
l.expires_at, l.released_at, l.used_bytes, l.used_messages
"""
# One statement: the claim decides, and nothing else is written when it fails. Foreign keys are checked at its end.
# An address whose lease was frozen is held from its last tenant too: leasing it anew would undo the freeze.
_GRANT = f"""
WITH claim AS (
    INSERT INTO addresses AS a (address, tenant_id, mailbox_id, lease_id, origin, leased_until, held_until)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (address) DO UPDATE SET
        tenant_id = $2, lease_id = $4, leased_until = $6, held_until = $7,
        mailbox_id = CASE WHEN a.tenant_id = $2 THEN a.mailbox_id ELSE $3 END
    WHERE a.origin = 'chosen' AND $5 = 'chosen' AND a.leased_until <= $8 AND (a.held_until <= $8 OR a.tenant_id = $2
        AND NOT EXISTS (SELECT FROM leases WHERE leases.id = a.lease_id AND frozen_at IS NOT NULL))
    RETURNING a.mailbox_id, a.address
), m AS (
    INSERT INTO mailboxes (id, tenant_id, address, domain, origin, metadata, uid_validity, next_uid, next_seq,
                           created_at)
    SELECT mailbox_id, $2, address, $9, $5, '{{}}', $10, 1, 1, $8 FROM claim
    ON CONFLICT (id) DO UPDATE SET erased_at = NULL
    RETURNING id, address
), l AS (
    INSERT INTO leases (id, tenant_id, mailbox_id, agent_id, purpose, metadata, state, started_at, expires_at,
                        password_hash, password_set_at, used_bytes, used_messages, tell_at)
    SELECT $4, $2, id, $11, $12, $13, 'active', $8, $6, $14, $8, 0, 0, $15 FROM m
    RETURNING *
)
SELECT {_LEASE} FROM l JOIN m ON m.id = l.mailbox_id
"""
_FIND = f"""
SELECT {_LEASE} FROM leases l JOIN mailboxes m ON m.id = l.mailbox_id WHERE l.tenant_id = $1 AND l.id = $2
"""
# The address is locked before its lease, here, in _RELEASE and by the claim of _GRANT: a lease that lost its address to
# a newer one meanwhile (two processes' clocks differ a little) is not renewed any more.
_RENEW = f"""
WITH held AS (
    SELECT lease_id FROM addresses WHERE tenant_id = $1 AND lease_id = $2 FOR UPDATE
), l AS (
    UPDATE leases SET expires_at = greatest(expires_at, $3),
        tell_at = CASE WHEN expires_at < $3 THEN $6 ELSE tell_at END
    FROM held
    WHERE tenant_id = $1 AND id = held.lease_id AND state <> 'released' AND frozen_at IS NULL AND expires_at > $4
      AND tell_at IS NOT NULL
    RETURNING leases.*
), a AS (
    UPDATE addresses SET leased_until = l.expires_at, held_until = l.expires_at + $5::interval
    FROM l WHERE addresses.lease_id = l.id
)
SELECT {_LEASE} FROM l JOIN mailboxes m ON m.id = l.mailbox_id
"""
_RELEASE = f"""
WITH held AS (
    SELECT lease_id FROM addresses WHERE tenant_id = $1 AND lease_id = $2 FOR UPDATE
), first AS (
    SELECT count(*) FROM held
), l AS (
    UPDATE leases SET state = 'released', released_at = $3, expires_at = least(expires_at, $3) FROM first
    WHERE tenant_id = $1 AND id = $2 AND state <> 'released' AND frozen_at IS NULL
    RETURNING leases.*
), a AS (
    UPDATE addresses SET leased_until = l.expires_at, held_until = l.expires_at + $4::interval
    FROM l WHERE addresses.lease_id = l.id
)
SELECT {_LEASE} FROM l JOIN mailboxes m ON m.id = l.mailbox_id
"""
_SWITCH = f"""
WITH l AS (
    UPDATE leases SET state = $4
    WHERE tenant_id = $1 AND id = $2 AND state <> 'released' AND frozen_at IS NULL AND expires_at > $3
    RETURNING *
)
SELECT {_LEASE} FROM l JOIN mailboxes m ON m.id = l.mailbox_id
"""
_RESET = """
UPDATE leases SET password_hash = $4, password_set_at = $3
WHERE tenant_id = $1 AND id = $2 AND state <> 'released' AND frozen_at IS NULL AND expires_at > $3
"""


async def grant(
    tx: Tx,
    tenant_id: TenantId,
    order: LeaseOrder,
    address: str,
    origin: str,
    password_hash: str,
    policy: LeasePolicy,
    at: datetime,
    expires_at: datetime,
) -> Record | None:
    """The new lease's row, or None when the address is not to be had."""
    lease_id = LeaseId.new(at)
    return await tx.one(
        _GRANT,
        address,
        tenant_id,
        MailboxId.new(at),
        lease_id,
        origin,
        expires_at,
        expires_at + policy.name_hold,
        at,
        order.domain,
        int(at.timestamp()),
        order.agent_id,
        order.purpose,
        order.metadata,
        password_hash,
        expiring_at(at, expires_at),
    )


async def find(tx: Tx, tenant_id: TenantId, lease_id: LeaseId) -> Record | None:
    return await tx.one(_FIND, tenant_id, lease_id)


async def renew(
    tx: Tx, tenant_id: TenantId, lease_id: LeaseId, until: datetime, at: datetime, policy: LeasePolicy
) -> Record | None:
    return await tx.one(_RENEW, tenant_id, lease_id, until, at, policy.name_hold, expiring_at(at, until))


async def release(tx: Tx, tenant_id: TenantId, lease_id: LeaseId, at: datetime, policy: LeasePolicy) -> Record | None:
    return await tx.one(_RELEASE, tenant_id, lease_id, at, policy.name_hold)


async def switch(tx: Tx, tenant_id: TenantId, lease_id: LeaseId, state: str, at: datetime) -> Record | None:
    return await tx.one(_SWITCH, tenant_id, lease_id, at, state)


async def reset_password(tx: Tx, tenant_id: TenantId, lease_id: LeaseId, password_hash: str, at: datetime) -> int:
    return await tx.run(_RESET, tenant_id, lease_id, at, password_hash)


class Filter:
    """Which leases or mailboxes a list shows: each criterion that is not None narrows it."""

    def __init__(self, tenant_id: TenantId, within: frozenset[MailboxId] | None, at: datetime) -> None:
        self.tenant_id = tenant_id
        self.within = within
        self.at = at
        self.status: str | None = None
        self.agent_id: Id | None = None
        self.mailbox_id: Id | None = None


_LIVE = ("active", "paused", "frozen")


async def listed(tx: Tx, wanted: Filter, below: object, limit: int) -> list[Record]:
    """Leases, newest first."""
    found = _chosen(wanted, below) if _are_few(wanted) else _walked(wanted, below)
    # The page first: a sort before it would want the addresses of all that fit.
    shown = found.limit(limit).subquery()
    addressed = select(shown, mailboxes.c.address).join(mailboxes, mailboxes.c.id == shown.c.mailbox_id)
    return await tx.select(addressed.order_by(shown.c.id.desc()))


def _are_few(wanted: Filter) -> bool:
    """Leases that last were never purged, and of both these and a mailbox's there are few."""
    return wanted.mailbox_id is not None or wanted.within is not None or wanted.status in _LIVE


# A subquery with OFFSET is planned by itself. Else the planner goes through everybody's leases, the newest first, as
# soon as a tenant has had a good share of them, however long ago that was.
def _chosen(wanted: Filter, below: object) -> Select[Any]:
    own = _of_tenant(select(leases), wanted, below)
    if wanted.status in _LIVE:
        own = own.where(leases.c.purged_at.is_(None), leases.c.expires_at > wanted.at)
    few = own.offset(0).subquery()
    return _with_status(select(few), few.c, wanted).order_by(few.c.id.desc())


def _walked(wanted: Filter, below: object) -> Select[Any]:
    ids = _of_tenant(select(leases.c.id), wanted, below).order_by(leases.c.id.desc()).offset(0).subquery()
    found = select(leases).join(ids, ids.c.id == leases.c.id)
    return _with_status(found, leases.c, wanted).order_by(leases.c.id.desc())


def _of_tenant(statement: Select[Any], wanted: Filter, below: object) -> Select[Any]:
    statement = statement.where(leases.c.tenant_id == wanted.tenant_id)
    if below is not None:
        statement = statement.where(leases.c.id < below)
    if wanted.within is not None:
        statement = statement.where(leases.c.mailbox_id.in_(list(wanted.within)))
    if wanted.mailbox_id is not None:
        statement = statement.where(leases.c.mailbox_id == wanted.mailbox_id)
    if wanted.agent_id is not None:
        statement = statement.where(leases.c.agent_id == wanted.agent_id)
    return statement


def _with_status(statement: Select[Any], columns: Any, wanted: Filter) -> Select[Any]:
    if wanted.status is None:
        return statement
    released, live = columns.state == "released", columns.expires_at > wanted.at
    frozen, lasting = columns.frozen_at.is_not(None), and_(columns.state != "released", live)
    return statement.where(
        {
            "released": released,
            "expired": and_(not_(released), not_(live)),
            "frozen": and_(lasting, frozen),
            "paused": and_(lasting, not_(frozen), columns.state == "paused"),
            "active": and_(lasting, not_(frozen), columns.state == "active"),
            "ended": or_(released, not_(live)),
        }[wanted.status]
    )


_MAILBOX = f"""
{_LEASE}, m.id AS m_id, m.display_name, m.metadata AS m_metadata, m.created_at, m.erased_at
"""
_LATEST = """
JOIN LATERAL (
    SELECT * FROM leases WHERE mailbox_id = m.id AND tenant_id = m.tenant_id ORDER BY id DESC LIMIT 1
) l ON true
"""
# OFFSET keeps the planner from looking for the tenant's among everybody's, the newest first.
_LIST_MAILBOXES = f"""
SELECT {_MAILBOX} FROM (
    SELECT id FROM mailboxes
    WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid[] IS NULL OR id = ANY ($3))
    ORDER BY id DESC OFFSET 0
) AS own JOIN mailboxes m ON m.id = own.id {_LATEST}
WHERE m.erased_at IS NULL ORDER BY m.id DESC LIMIT $4
"""
_FIND_MAILBOX = f"""
SELECT {_MAILBOX} FROM mailboxes m {_LATEST} WHERE m.tenant_id = $1 AND m.id = $2 AND m.erased_at IS NULL
"""
_CHANGE_MAILBOX = """
UPDATE mailboxes SET
    display_name = CASE WHEN $3::jsonb ? 'display_name' THEN $3 ->> 'display_name' ELSE display_name END,
    metadata = coalesce($3 -> 'metadata', metadata)
WHERE tenant_id = $1 AND id = $2 AND erased_at IS NULL
"""
_ERASE_MAILBOX = "UPDATE mailboxes SET erased_at = $3 WHERE tenant_id = $1 AND id = $2 AND erased_at IS NULL"


async def list_mailboxes(
    tx: Tx, tenant_id: TenantId, below: object, within: Sequence[MailboxId] | None, limit: int
) -> list[Record]:
    return await tx.all(_LIST_MAILBOXES, tenant_id, below, within, limit)


async def find_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId) -> Record | None:
    return await tx.one(_FIND_MAILBOX, tenant_id, mailbox_id)


async def change_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, changes: dict[str, Any]) -> int:
    return await tx.run(_CHANGE_MAILBOX, tenant_id, mailbox_id, changes)


async def erase_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, at: datetime) -> int:
    return await tx.run(_ERASE_MAILBOX, tenant_id, mailbox_id, at)


_ROUTE = """
SELECT a.address, l.id, l.tenant_id, l.mailbox_id, l.state, l.frozen_at, l.expires_at, l.used_bytes, l.used_messages
FROM addresses a JOIN leases l ON l.id = a.lease_id WHERE a.address = ANY ($1)
"""
# Locked in one order, so that two mail servers cannot deadlock; against changes, not against the foreign keys and the
# KEY SHARE of those who publish mail meanwhile.
_ROUTE_LOCKED = _ROUTE + "ORDER BY l.id FOR NO KEY UPDATE OF l"
_USE = """
UPDATE leases SET used_bytes = used_bytes + bytes, used_messages = used_messages + mails
FROM unnest($1::uuid[], $2::bigint[], $3::int[]) AS want(lease_id, bytes, mails) WHERE leases.id = want.lease_id
"""
_GIVE_BACK = """
UPDATE leases SET used_bytes = greatest(0, used_bytes - $2), used_messages = greatest(0, used_messages - $3)
WHERE id = $1
"""
# For the rest of a purge's transaction. What goes may be much, but never so much that reading what stays were less: the
# planner, which weighs only one statement, would read a small table from end to end for a thousand of its rows.
_BY_INDEX = "SELECT set_config('enable_seqscan', 'off', true)"
# As many as have about so many messages together, and one at least.
_DUE_FOR_PURGE = """
SELECT id FROM (
    SELECT id, sum(used_messages) OVER (ORDER BY expires_at, id) - used_messages AS before FROM (
        SELECT id, expires_at, used_messages FROM leases WHERE purged_at IS NULL AND expires_at < $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) AS locked
) AS due WHERE before < $3 OR before = 0
"""
# FOR UPDATE waits for those who publish mail of these leases, as _DUE_FOR_PURGE does.
_LOCK_MAILBOX_LEASES = """
SELECT FROM leases WHERE tenant_id = $1 AND mailbox_id = $2 AND purged_at IS NULL ORDER BY id FOR UPDATE
"""
_MARK_MAILBOX_PURGED = """
UPDATE leases SET purged_at = $3, used_bytes = 0, used_messages = 0
WHERE tenant_id = $1 AND mailbox_id = $2 AND purged_at IS NULL
"""
_MARK_PURGED = "UPDATE leases SET purged_at = $2, used_bytes = 0, used_messages = 0 WHERE id = ANY ($1)"


async def mark_mailbox_purged(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, at: datetime) -> None:
    """All leases of an erased mailbox: mail still being parsed for them is dropped, not shown."""
    await tx.run(_LOCK_MAILBOX_LEASES, tenant_id, mailbox_id)
    await tx.run(_MARK_MAILBOX_PURGED, tenant_id, mailbox_id, at)


async def route(tx: Tx, addresses: Sequence[str]) -> list[Record]:
    """The latest lease behind each address that was ever leased. Addresses are public, so no tenant narrows this."""
    return await tx.all(_ROUTE, addresses)


async def route_locked(tx: Tx, addresses: Sequence[str]) -> list[Record]:
    """The same, with the leases' rows locked until we commit."""
    return await tx.all(_ROUTE_LOCKED, addresses)


async def use(tx: Tx, lease_ids: Sequence[LeaseId], sizes: Sequence[int], counts: Sequence[int]) -> None:
    """Add to the leases' used quota."""
    await tx.run(_USE, lease_ids, sizes, counts)


async def give_back(tx: Tx, lease_id: LeaseId, size: int, count: int) -> None:
    await tx.run(_GIVE_BACK, lease_id, size, count)


async def due_for_purge(tx: Tx, before: datetime, limit: int, messages: int = 1_000) -> list[LeaseId]:
    """Leases that ended before a time and hold mail still, those first that did first; their rows are ours.

    At most `limit`, and no more than hold about so many messages together. Nothing is scanned until commit.
    """
    await tx.run(_BY_INDEX)
    return [LeaseId.of(row["id"]) for row in await tx.all(_DUE_FOR_PURGE, before, limit, messages)]


async def mark_purged(tx: Tx, lease_ids: Sequence[LeaseId], at: datetime) -> None:
    await tx.run(_MARK_PURGED, lease_ids, at)
