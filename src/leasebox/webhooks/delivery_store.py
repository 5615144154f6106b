"""SQL of deliveries as they are shown, sent again, tested and forgotten."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.facts import PUBLIC
from leasebox.values.ids import DeliveryId, EventId, TenantId, WebhookId
from leasebox.webhooks.model import ALL_TYPES, WEBHOOK_TEST, Attempt, Delivery, DeliveryFilter

_SHOWN = """
SELECT d.id, d.tenant_id, d.webhook_id, d.event_id, d.event_type, d.state, d.attempts, d.next_at, d.created_at,
    d.finished_at, a.status_code, a.error
FROM webhook_deliveries d LEFT JOIN LATERAL (
    SELECT status_code, error FROM webhook_attempts WHERE delivery_id = d.id ORDER BY number DESC LIMIT 1
) a ON true
"""
_NARROWED = """
($2::uuid[] IS NULL OR EXISTS (
      SELECT FROM webhooks w WHERE w.id = d.webhook_id AND w.tenant_id = d.tenant_id AND w.mailbox_ids <@ $2))
  AND ($3::uuid IS NULL OR d.webhook_id = $3) AND ($4::text IS NULL OR d.state = $4)
  AND ($5::text IS NULL OR d.event_type = $5) AND ($6::uuid IS NULL OR d.id = $6) AND ($7::uuid IS NULL OR d.id < $7)
ORDER BY d.id DESC LIMIT $8
"""
_LIST = f"{_SHOWN} WHERE d.tenant_id = $1 AND {_NARROWED}"
_SEARCH = f"{_SHOWN} WHERE $1::uuid IS NULL AND {_NARROWED}"
_ATTEMPTS = """
SELECT a.number, a.at, a.took_ms, a.status_code, a.error
FROM webhook_attempts a JOIN webhook_deliveries d ON d.id = a.delivery_id
WHERE d.tenant_id = $1 AND d.id = $2 ORDER BY a.number
"""


async def listed(tx: Tx, wanted: DeliveryFilter, below: object, limit: int) -> list[Delivery]:
    """Newest first; of all tenants where the filter names none."""
    rows = await tx.all(
        _SEARCH if wanted.tenant_id is None else _LIST,
        wanted.tenant_id,
        wanted.within,
        wanted.webhook_id,
        wanted.state,
        wanted.event_type,
        wanted.delivery_id,
        below,
        limit,
    )
    return [_delivery(row) for row in rows]


async def attempts(tx: Tx, tenant_id: TenantId, delivery_id: DeliveryId) -> list[Attempt]:
    """Oldest first."""
    return [Attempt(*row) for row in await tx.all(_ATTEMPTS, tenant_id, delivery_id)]


_AGAIN = """
WITH again AS (
    UPDATE webhook_deliveries SET state = 'pending', step = 0, next_at = $4, finished_at = NULL
    WHERE tenant_id = $1 AND webhook_id = $2 AND next_at IS NULL AND ($3::uuid IS NULL OR id = $3)
      AND ($5::text IS NULL OR state = $5)
      AND ($6::int IS NULL OR id IN (
          SELECT id FROM webhook_deliveries WHERE webhook_id = $2 AND state = $5 ORDER BY id LIMIT $6))
    RETURNING webhook_id
), due AS (
    UPDATE webhook_lanes SET due_at = least(due_at, $4) WHERE webhook_id IN (SELECT webhook_id FROM again)
)
SELECT count(*) FROM again
"""
_IN_WINDOW = """
FROM facts f JOIN webhooks w ON w.tenant_id = f.tenant_id
WHERE w.tenant_id = $1 AND w.id = $2 AND f.id >= $3 AND f.id < $4 AND f.type = ANY ($5)
  AND (f.type = ANY (w.event_types) OR $6 = ANY (w.event_types))
  AND (w.mailbox_ids IS NULL OR f.mailbox_id = ANY (w.mailbox_ids))
"""
_COUNT_WINDOW = f"SELECT count(*) FROM (SELECT 1 {_IN_WINDOW} LIMIT $7) AS found"
_REPLAY = f"""
WITH again AS (
    INSERT INTO webhook_deliveries AS d
        (id, tenant_id, webhook_id, event_id, event_type, state, attempts, step, next_at, created_at)
    SELECT id_at(f.at), f.tenant_id, w.id, f.id, f.type, 'pending', 0, 0, $7, $7
    {_IN_WINDOW}
    ON CONFLICT (webhook_id, event_id) DO UPDATE SET state = 'pending', step = 0, next_at = $7, finished_at = NULL
        WHERE d.next_at IS NULL
    RETURNING d.webhook_id
), due AS (
    UPDATE webhook_lanes SET due_at = least(due_at, $7) WHERE webhook_id IN (SELECT webhook_id FROM again)
)
SELECT count(*) FROM again
"""
_OPEN_TEST = """
SELECT id FROM webhook_deliveries
WHERE tenant_id = $1 AND webhook_id = $2 AND event_type = $3 AND next_at IS NOT NULL ORDER BY id LIMIT 1
"""
_INSERT_TEST = """
WITH made AS (
    INSERT INTO webhook_deliveries
        (id, tenant_id, webhook_id, event_id, event_type, payload, state, attempts, step, next_at, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $8, $8)
)
UPDATE webhook_lanes SET due_at = least(due_at, $8) WHERE webhook_id = $3
"""


async def send_again(tx: Tx, tenant_id: TenantId, webhook_id: WebhookId, delivery_id: DeliveryId, at: datetime) -> int:
    """Start an ended delivery's schedule anew; 0 if it has not ended. The lane is locked."""
    return int(await tx.value(_AGAIN, tenant_id, webhook_id, delivery_id, at, None, None))


async def send_dead_again(tx: Tx, tenant_id: TenantId, webhook_id: WebhookId, at: datetime, limit: int) -> int:
    """The same for dead ones of an endpoint, oldest first; how many."""
    return int(await tx.value(_AGAIN, tenant_id, webhook_id, None, at, "dead", limit))


async def count_window(
    tx: Tx, tenant_id: TenantId, webhook_id: WebhookId, first: UUID, before: UUID, limit: int
) -> int:
    """How many facts with ids of this range an endpoint wants, counted up to `limit`."""
    wanted = (tenant_id, webhook_id, first, before, PUBLIC, ALL_TYPES)
    return int(await tx.value(_COUNT_WINDOW, *wanted, limit))


async def replay(tx: Tx, tenant_id: TenantId, webhook_id: WebhookId, first: UUID, before: UUID, at: datetime) -> int:
    """Deliver these facts, whether or not they were before; how many. What is on its way is left to itself."""
    wanted = (tenant_id, webhook_id, first, before, PUBLIC, ALL_TYPES)
    return int(await tx.value(_REPLAY, *wanted, at))


async def open_test(tx: Tx, tenant_id: TenantId, webhook_id: WebhookId) -> DeliveryId | None:
    """A test that is on its way."""
    found = await tx.value(_OPEN_TEST, tenant_id, webhook_id, WEBHOOK_TEST)
    return None if found is None else DeliveryId.of(found)


async def insert_test(tx: Tx, made: Delivery, payload: Mapping[str, Any], step: int) -> None:
    """A delivery that no fact stands behind. The lane is locked."""
    await tx.run(
        _INSERT_TEST,
        made.delivery_id,
        made.tenant_id,
        made.webhook_id,
        made.event_id,
        made.event_type,
        payload,
        step,
        made.created_at,
    )


_FORGET = """
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries WHERE id < $1 AND next_at IS NULL AND finished_at < $2
    ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
"""


async def forget(tx: Tx, made_before: UUID, ended_before: datetime, limit: int) -> int:
    """Drop up to `limit` deliveries that ended before a time, with their attempts; how many."""
    return await tx.run(_FORGET, made_before, ended_before, limit)


def _delivery(row: Record) -> Delivery:
    return Delivery(
        delivery_id=DeliveryId.of(row["id"]),
        tenant_id=TenantId.of(row["tenant_id"]),
        webhook_id=WebhookId.of(row["webhook_id"]),
        event_id=EventId.of(row["event_id"]),
        event_type=row["event_type"],
        state=row["state"],
        attempts=row["attempts"],
        next_attempt_at=row["next_at"] if row["state"] in ("pending", "failed") else None,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        last_status_code=row["status_code"],
        last_error=row["error"],
    )
