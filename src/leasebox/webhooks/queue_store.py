"""SQL of the queue that deliveries stand in: made from facts, claimed, settled.

`next_at` is when somebody should look at a delivery: when its try is due, or its claim runs out. A lane's `due_at` is
never later than the earliest of these, so whoever looks for work looks at lanes only. Everybody may lower it; only a
claim, which holds the lane's lock and sees all that was committed before, moves it up.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.facts import PUBLIC
from leasebox.values.ids import DeliveryId, EventId, LeaseId, MailboxId, TenantId, WebhookId
from leasebox.webhooks.model import (
    ALL_TYPES,
    CLAIM,
    WIDTH_FAILING,
    WIDTH_NEW,
    WIDTH_PROVEN,
    Claimed,
    Lane,
    SealedSecret,
    Tried,
)

_FAN_OUT = "SELECT passed, made FROM fan_out_facts($1, $2, $3, $4)"
_CLAIM = "SELECT * FROM claim_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9)"


async def fan_out(tx: Tx, most: int, at: datetime) -> tuple[int, int]:
    """Make deliveries of the next facts behind the cursor, which moves along; how many facts, and how many deliveries.

    Nobody else fans out until commit.
    """
    row = await tx.one(_FAN_OUT, most, PUBLIC, ALL_TYPES, at)
    assert row is not None
    return row["passed"], row["made"]


async def claim(
    tx: Tx, under_way: Mapping[WebhookId, int], at: datetime, places: int, most_lanes: int
) -> list[Claimed]:
    """Take due deliveries until CLAIM has passed: of each lane as many as it is wide, less those under way."""
    busy, counts = list(under_way), list(under_way.values())
    widths = (WIDTH_PROVEN, WIDTH_NEW, WIDTH_FAILING)
    return [_claimed(row) for row in await tx.all(_CLAIM, at, CLAIM, places, most_lanes, busy, counts, *widths)]


# The commit waits for no disk: outcomes that are lost with the server's memory are found out again, under the same id.
_LOCK_LANES = """
SELECT l.webhook_id, l.failures, l.failing_since, l.failed_at, l.succeeded_at, l.resting_until, w.status
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS until_commit
CROSS JOIN webhook_lanes l JOIN webhooks w ON w.id = l.webhook_id
WHERE l.webhook_id = ANY ($1) ORDER BY l.webhook_id FOR UPDATE OF l
"""
# What died meanwhile stays dead, unless it has arrived after all.
_SETTLE = """
WITH told AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::int[], $5::smallint[], $6::text[], $7::text[],
        $8::timestamptz[]) AS t (id, number, at, took_ms, status_code, error, state, next_at)
), settled AS (
    UPDATE webhook_deliveries d
    SET state = t.state, next_at = t.next_at, finished_at = CASE WHEN t.next_at IS NULL THEN $9::timestamptz END,
        step = d.step + CASE WHEN t.state = 'failed' THEN 1 ELSE 0 END
    FROM told t
    WHERE d.id = t.id AND d.attempts = t.number
      AND (d.state = 'delivering' OR (d.state = 'dead' AND t.state = 'succeeded'))
    RETURNING d.id, d.webhook_id, d.next_at
), noted AS (
    INSERT INTO webhook_attempts (delivery_id, number, at, took_ms, status_code, error)
    SELECT t.id, t.number, t.at, t.took_ms, t.status_code, t.error
    FROM told t JOIN webhook_deliveries d ON d.id = t.id AND d.attempts = t.number
    ON CONFLICT DO NOTHING
), due AS (
    SELECT webhook_id, min(next_at) AS next_at FROM settled GROUP BY webhook_id
)
UPDATE webhook_lanes l
SET failures = n.failures, failing_since = n.failing_since, failed_at = n.failed_at, succeeded_at = n.succeeded_at,
    resting_until = n.resting_until,
    due_at = least(l.due_at, (
        SELECT greatest(due.next_at, n.resting_until) FROM due WHERE due.webhook_id = l.webhook_id))
FROM unnest($10::uuid[], $11::int[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[])
    AS n (webhook_id, failures, failing_since, failed_at, succeeded_at, resting_until)
WHERE l.webhook_id = n.webhook_id
"""


class Outcome(msgspec.Struct, frozen=True):
    """A try, and what becomes of its delivery: next_at None means that it has ended."""

    tried: Tried
    state: str
    next_at: datetime | None


async def lock_lanes(tx: Tx, webhook_ids: Sequence[WebhookId]) -> tuple[dict[WebhookId, Lane], set[WebhookId]]:
    """The lanes, locked in one order, and which of them are of disabled endpoints."""
    rows = await tx.all(_LOCK_LANES, webhook_ids)
    lanes = {WebhookId.of(row["webhook_id"]): _lane(row) for row in rows}
    return lanes, {WebhookId.of(row["webhook_id"]) for row in rows if row["status"] == "disabled"}


async def must_last(tx: Tx) -> None:
    """Let the commit wait for the disk after all."""
    await tx.run("SELECT set_config('synchronous_commit', 'on', true)")


async def settle(tx: Tx, outcomes: Sequence[Outcome], lanes: Sequence[Lane], at: datetime) -> None:
    """Write down how tries went and how their lanes, which are locked, go on. A try that is not the latest is late."""
    tries = [each.tried for each in outcomes]
    await tx.run(
        _SETTLE,
        [each.delivery.delivery_id for each in tries],
        [each.delivery.attempt for each in tries],
        [each.at for each in tries],
        [each.took_ms for each in tries],
        [each.status_code for each in tries],
        [each.error for each in tries],
        [each.state for each in outcomes],
        [each.next_at for each in outcomes],
        at,
        [lane.webhook_id for lane in lanes],
        [lane.failures for lane in lanes],
        [lane.failing_since for lane in lanes],
        [lane.failed_at for lane in lanes],
        [lane.succeeded_at for lane in lanes],
        [lane.resting_until for lane in lanes],
    )


def _lane(row: Record) -> Lane:
    return Lane(
        webhook_id=WebhookId.of(row["webhook_id"]),
        failures=row["failures"],
        failing_since=row["failing_since"],
        failed_at=row["failed_at"],
        succeeded_at=row["succeeded_at"],
        resting_until=row["resting_until"],
    )


def _claimed(row: Record) -> Claimed:
    mailbox, lease = row["mailbox_id"], row["lease_id"]
    places = zip(row["numbers"] or (), row["kids"] or (), row["sealed"] or (), strict=True)
    return Claimed(
        delivery_id=DeliveryId.of(row["id"]),
        tenant_id=TenantId.of(row["tenant_id"]),
        webhook_id=WebhookId.of(row["webhook_id"]),
        event_id=EventId.of(row["event_id"]),
        event_type=row["event_type"],
        attempt=row["attempts"],
        step=row["step"],
        target_url=row["target_url"],
        mailbox_id=None if mailbox is None else MailboxId.of(mailbox),
        lease_id=None if lease is None else LeaseId.of(lease),
        payload=row["payload"],
        happened_at=row["happened_at"],
        secrets=tuple(SealedSecret(*place) for place in places),
        has_more=row["more"],
    )
