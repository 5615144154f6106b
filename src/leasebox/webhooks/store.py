"""SQL of endpoints, their secrets and lanes. A lane is locked before anything of its endpoint is changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.infra.reseal import SealedRow
from leasebox.values.ids import MailboxId, TenantId, WebhookId
from leasebox.webhooks.model import DisabledReason, SealedSecret, Webhook
from leasebox.webhooks.signing import place_of

_COLUMNS = """
w.id, w.tenant_id, w.target_url, w.event_types, w.mailbox_ids, w.mailbox_id, w.status, w.disabled_reason, w.disabled_at,
w.created_at
"""
# Whoever is limited to some mailboxes sees endpoints that tell of no others.
_WITHIN = "($2::uuid[] IS NULL OR w.mailbox_ids <@ $2)"
_FIND = f"SELECT {_COLUMNS} FROM webhooks w WHERE w.tenant_id = $1 AND {_WITHIN} AND w.id = $3"
_LIST = f"""
SELECT {_COLUMNS} FROM webhooks w
WHERE w.tenant_id = $1 AND {_WITHIN} AND ($3::uuid IS NULL OR w.id < $3) ORDER BY w.id DESC LIMIT $4
"""
_LIST_ANY = f"""
SELECT {_COLUMNS} FROM webhooks w
WHERE ($1::uuid IS NULL OR w.tenant_id = $1) AND ($2::text IS NULL OR w.status = $2)
  AND ($3::uuid IS NULL OR w.id < $3) AND ($4::uuid IS NULL OR w.id = $4)
ORDER BY w.id DESC LIMIT $5
"""
_OF_MAILBOXES = f"SELECT {_COLUMNS} FROM webhooks w WHERE w.tenant_id = $1 AND w.mailbox_id = ANY ($2)"


async def find(
    tx: Tx, tenant_id: TenantId, within: Sequence[MailboxId] | None, webhook_id: WebhookId
) -> Webhook | None:
    return _webhook(await tx.one(_FIND, tenant_id, within, webhook_id))


async def listed(
    tx: Tx, tenant_id: TenantId, within: Sequence[MailboxId] | None, below: object, limit: int
) -> list[Webhook]:
    return [_read(row) for row in await tx.all(_LIST, tenant_id, within, below, limit)]


async def listed_any(
    tx: Tx, tenant_id: TenantId | None, status: str | None, below: object, webhook_id: WebhookId | None, limit: int
) -> list[Webhook]:
    """Of all tenants, newest first."""
    return [_read(row) for row in await tx.all(_LIST_ANY, tenant_id, status, below, webhook_id, limit)]


async def of_mailboxes(tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId]) -> list[Webhook]:
    """The endpoints that are `webhook_url` of these."""
    return [_read(row) for row in await tx.all(_OF_MAILBOXES, tenant_id, mailbox_ids)]


# Makers of a tenant's endpoints stand in line, so that the count below is still true when the row is there.
_IN_LINE = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1::uuid::text, 0))"
_INSERT = """
INSERT INTO webhooks (id, tenant_id, target_url, event_types, mailbox_ids, mailbox_id, status, created_at)
SELECT $1, $2, $3, $4, $5, $6, 'enabled', $7
WHERE $6::uuid IS NOT NULL OR (SELECT count(*) FROM webhooks WHERE tenant_id = $2 AND mailbox_id IS NULL) < $8
"""
_INSERT_LANE = "INSERT INTO webhook_lanes (webhook_id, failures) VALUES ($1, 0)"


async def stand_in_line(tx: Tx, tenant_id: TenantId) -> None:
    """Until commit nobody else makes or removes endpoints of this tenant by these verbs."""
    await tx.run(_IN_LINE, tenant_id)


async def insert(tx: Tx, webhook: Webhook, at_most: int) -> int:
    """Add an endpoint with its lane, unless the tenant has `at_most` already; those of mailboxes do not count.

    `stand_in_line` comes first.
    """
    made = await tx.run(
        _INSERT,
        webhook.webhook_id,
        webhook.tenant_id,
        webhook.target_url,
        webhook.event_types,
        webhook.mailbox_ids,
        webhook.mailbox_id,
        webhook.created_at,
        at_most,
    )
    if made:
        await tx.run(_INSERT_LANE, webhook.webhook_id)
    return made


_LOCK_LANE = "SELECT webhook_id FROM webhook_lanes WHERE webhook_id = $1 FOR UPDATE"
_CHANGE = """
UPDATE webhooks SET target_url = $3, event_types = $4, mailbox_ids = $5 WHERE tenant_id = $1 AND id = $2
"""
_ENABLE = """
WITH changed AS (
    UPDATE webhooks SET status = 'enabled', disabled_reason = NULL, disabled_at = NULL
    WHERE id = $1 AND status = 'disabled' RETURNING id
)
UPDATE webhook_lanes SET failures = 0, failing_since = NULL, failed_at = NULL, resting_until = NULL
FROM changed WHERE webhook_id = changed.id
"""
# What an operator disables is disabled by the operator from then on, whoever else had done so before.
_DISABLE = """
WITH changed AS (
    UPDATE webhooks SET status = 'disabled', disabled_reason = $2, disabled_at = coalesce(disabled_at, $3)
    WHERE id = $1 AND (status = 'enabled' OR ($2 = 'by_operator' AND disabled_reason <> 'by_operator')) RETURNING id
), dead AS (
    UPDATE webhook_deliveries SET state = 'dead', next_at = NULL, finished_at = $3
    FROM changed WHERE webhook_id = changed.id AND next_at IS NOT NULL RETURNING 1
), idle AS (
    UPDATE webhook_lanes SET due_at = NULL FROM changed WHERE webhook_id = changed.id
)
SELECT (SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM dead) AS dead
"""
_DELETE = "DELETE FROM webhooks WHERE tenant_id = $1 AND id = $2"


async def lock_lane(tx: Tx, webhook_id: WebhookId) -> int:
    """Keep everybody else away from an endpoint's deliveries until commit; 0 if there is no such endpoint."""
    return len(await tx.all(_LOCK_LANE, webhook_id))


async def change(tx: Tx, changed: Webhook) -> None:
    """Write target, types and mailboxes. The lane is locked."""
    await tx.run(
        _CHANGE,
        changed.tenant_id,
        changed.webhook_id,
        changed.target_url,
        changed.event_types,
        changed.mailbox_ids,
    )


async def enable(tx: Tx, webhook_id: WebhookId) -> int:
    """With a clean slate; 0 if it was enabled."""
    return await tx.run(_ENABLE, webhook_id)


async def disable(tx: Tx, webhook_id: WebhookId, reason: DisabledReason, at: datetime) -> tuple[int, int]:
    """Send nothing any more; what waited is dead. Whether that is news, and how many died. The lane is locked."""
    row = await tx.one(_DISABLE, webhook_id, reason, at)
    assert row is not None
    return row["changed"], row["dead"]


async def delete(tx: Tx, tenant_id: TenantId, webhook_id: WebhookId) -> int:
    """With its secrets and deliveries. The lane is locked."""
    return await tx.run(_DELETE, tenant_id, webhook_id)


_RETIRE = """
UPDATE webhook_secrets SET expires_at = $2 WHERE webhook_id = $1 AND expires_at IS NULL
"""
_INSERT_SEALED = """
INSERT INTO webhook_secrets (webhook_id, number, kid, sealed) VALUES ($1, $2, $3, $4)
"""
_LIVE_SECRETS = """
SELECT count(*) FILTER (WHERE expires_at IS NULL OR expires_at > $2) AS live, coalesce(max(number), 0) AS last
FROM webhook_secrets WHERE webhook_id = $1
"""
_FORGET_SECRETS = "DELETE FROM webhook_secrets WHERE expires_at <= $1"
_BY_KEY = "SELECT kid, count(*) AS rows FROM webhook_secrets GROUP BY kid"
_SEALED_OTHERWISE = """
SELECT webhook_id, number, kid, sealed FROM webhook_secrets
WHERE kid <> $1 AND (webhook_id, number) > ($2, $3) ORDER BY webhook_id, number LIMIT $4 FOR UPDATE
"""
_RESEAL = """
UPDATE webhook_secrets s SET kid = $1, sealed = n.sealed
FROM unnest($2::uuid[], $3::int[], $4::bytea[]) AS n (webhook_id, number, sealed)
WHERE s.webhook_id = n.webhook_id AND s.number = n.number
"""
_FIRST = (UUID(int=0), 0)


async def live_secrets(tx: Tx, webhook_id: WebhookId, at: datetime) -> tuple[int, int]:
    """How many secrets are good now, and the highest number given so far."""
    row = await tx.one(_LIVE_SECRETS, webhook_id, at)
    assert row is not None
    return row["live"], row["last"]


async def add_secret(tx: Tx, webhook_id: WebhookId, secret: SealedSecret, old_until: datetime) -> None:
    """Make this the present secret; the one before signs along until `old_until`."""
    await tx.run(_RETIRE, webhook_id, old_until)
    await tx.run(_INSERT_SEALED, webhook_id, secret.number, secret.kid, secret.sealed)


async def forget_secrets(tx: Tx, at: datetime) -> int:
    """Drop those whose time is over."""
    return await tx.run(_FORGET_SECRETS, at)


async def by_key(tx: Tx) -> Mapping[str, int]:
    """How many secrets each key of ours seals."""
    return {row["kid"]: row["rows"] for row in await tx.all(_BY_KEY)}


async def sealed_otherwise(tx: Tx, kid: str, after: tuple[Any, ...] | None, limit: int) -> Sequence[SealedRow]:
    """Secrets that are sealed with another key than this one, behind an endpoint and number, locked."""
    rows = await tx.all(_SEALED_OTHERWISE, kid, *(after or _FIRST), limit)
    return [
        SealedRow(
            (row["webhook_id"], row["number"]),
            place_of(row["webhook_id"], row["number"]),
            row["kid"],
            row["sealed"],
        )
        for row in rows
    ]


async def reseal(tx: Tx, kid: str, rows: Sequence[SealedRow]) -> None:
    """Keep these as they were sealed anew with the key of this id."""
    await tx.run(_RESEAL, kid, *map(list, zip(*(row.key for row in rows), strict=True)), [row.sealed for row in rows])


def _webhook(row: Record | None) -> Webhook | None:
    return None if row is None else _read(row)


def _read(row: Record) -> Webhook:
    limited = row["mailbox_ids"]
    return Webhook(
        webhook_id=WebhookId.of(row["id"]),
        tenant_id=TenantId.of(row["tenant_id"]),
        target_url=row["target_url"],
        event_types=tuple(row["event_types"]),
        mailbox_ids=None if limited is None else tuple(MailboxId.of(each) for each in limited),
        mailbox_id=None if row["mailbox_id"] is None else MailboxId.of(row["mailbox_id"]),
        status=row["status"],
        disabled_reason=row["disabled_reason"],
        disabled_at=row["disabled_at"],
        created_at=row["created_at"],
    )
