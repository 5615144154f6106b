"""SQL of the queue that deliveries stand in: made from facts, claimed, settled.

`next_at` is when somebody should look at a delivery: when its try is due, or its claim runs out. A lane's `due_at` has
passed once that of any of its deliveries has, so whoever looks for work looks at lanes only. Among those that are due
it is the place in line: who was served stands at the end. Everybody may lower it; only a claim, which holds the lane's
lock and sees all that was committed before, moves it up.
"""

from collections.abc import Sequence
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
from leasebox.webhooks.places import QUICK_S, Offer

_FAN_OUT = "SELECT passed, made FROM fan_out_facts($1, $2, $3, $4)"
_CLAIM = """
SELECT * FROM claim_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""


async def fan_out(tx: Tx, most: int, at: datetime) -> tuple[int, int]:
    """Make deliveries of the next facts behind the cursor, which moves along; how many facts, and how many deliveries.

    Nobody else fans out until commit.
    """
    row = await tx.one(_FAN_OUT, most, PUBLIC, ALL_TYPES, at)
    assert row is not None
    return row["passed"], row["made"]


async def claim(tx: Tx, offer: Offer, at: datetime, most_lanes: int) -> list[Claimed]:
    """Take due deliveries until CLAIM has passed: of each lane as many as it is wide, of each tenant as it has room."""
    rooms = offer.rooms.values()
    rows = await tx.all(
        _CLAIM,
        at,
        CLAIM,
        most_lanes,
        offer.room.quick,
        offer.room.slow,
        list(offer.busy),
        list(offer.busy.values()),
        list(offer.rooms),
        [each.quick for each in rooms],
        [each.slow for each in rooms],
        offer.usual.quick,
        offer.usual.slow,
        WIDTH_PROVEN,
        WIDTH_NEW,
        WIDTH_FAILING,
        round(QUICK_S * 1000),
    )
    return [_claimed(row) for row in rows]


# The commit waits for no disk: outcomes that are lost with the server's memory are found out again, under the same id.
_LOCK_LANES = """
SELECT l.webhook_id, l.failures, l.failing_since, l.failed_at, l.succeeded_at, l.resting_until, l.pace_ms,
    w.status
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
    resting_until = n.resting_until, pace_ms = n.pace_ms,
    due_at = least(l.due_at, (
        SELECT greatest(due.next_at, n.resting_until) FROM due WHERE due.webhook_id = l.webhook_id))
FROM unnest($10::uuid[], $11::int[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[],
    $16::int[]) AS n (webhook_id, failures, failing_since, failed_at, succeeded_at, resting_until, pace_ms)
WHERE l.webhook_id = n.webhook_id
"""


# Since when a lane waits its due_at says: a receiver's own slowness is not in it. Facts that have a position wait
# behind the cursor, others behind the snapshot that was looked through last (facts_order).
_DEPTH = """
SELECT open.waiting, open.under_way, open.due, open.oldest_due, lost.dead, lost.died, late.facts, late.oldest_fact,
    (SELECT count(*) FROM webhooks WHERE disabled_at >= $2 AND disabled_reason IN ('gone', 'failing')) AS disabled
FROM (
    SELECT count(*) FILTER (WHERE d.next_at > $1 AND d.state <> 'delivering') AS waiting,
        count(*) FILTER (WHERE d.next_at > $1 AND d.state = 'delivering') AS under_way,
        count(*) FILTER (WHERE d.next_at <= $1) AS due,
        min(greatest(l.due_at, l.resting_until)) FILTER (
            WHERE d.next_at <= $1 AND coalesce(l.resting_until <= $1, true)) AS oldest_due
    FROM webhook_lanes l JOIN webhook_deliveries d ON d.webhook_id = l.webhook_id
    WHERE l.due_at IS NOT NULL AND d.next_at IS NOT NULL
) AS open, (
    SELECT count(*) AS dead, count(*) FILTER (WHERE finished_at >= $2) AS died
    FROM webhook_deliveries WHERE state = 'dead'
) AS lost, (
    SELECT count(*) AS facts, min(f.at) AS oldest_fact FROM (
        SELECT fact_id FROM fact_positions WHERE position > (SELECT position FROM webhook_cursor WHERE one = 1)
        UNION ALL
        SELECT id FROM facts WHERE xid >= (SELECT pg_snapshot_xmax(seen::pg_snapshot) FROM fact_sequence WHERE one = 1)
            AND NOT EXISTS (SELECT FROM fact_positions WHERE fact_id = facts.id)
    ) AS news CROSS JOIN LATERAL (SELECT at FROM facts WHERE id = news.fact_id OFFSET 0) AS f
) AS late
"""


class Depth(msgspec.Struct, frozen=True):
    """Deliveries that wait for their time, are under way, or are due; since when the endpoint waits that stands first
    in line; dead ones, and those that died lately; facts that no delivery was made of yet, and when the first of them
    happened; endpoints that were disabled lately because they failed or said 410."""

    waiting: int
    under_way: int
    due: int
    oldest_due: datetime | None
    dead: int
    died: int
    facts: int
    oldest_fact: datetime | None
    disabled: int


async def depth(tx: Tx, at: datetime, lately: datetime) -> Depth:
    """How much stands in the queue and before it. lately: since when."""
    row = await tx.one(_DEPTH, at, lately)
    assert row is not None
    return Depth(**row)


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
        [lane.pace_ms for lane in lanes],
    )


def _lane(row: Record) -> Lane:
    return Lane(
        webhook_id=WebhookId.of(row["webhook_id"]),
        failures=row["failures"],
        failing_since=row["failing_since"],
        failed_at=row["failed_at"],
        succeeded_at=row["succeeded_at"],
        resting_until=row["resting_until"],
        pace_ms=row["pace_ms"],
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
        made_at=row["created_at"],
        secrets=tuple(SealedSecret(*place) for place in places),
        is_slow=row["slow"],
        has_more=row["more"],
        is_cut=row["cut"],
    )
