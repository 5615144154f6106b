"""SQL of figures over time and of the present state. Spans of time are ranges of ids on primary keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.values.facts import MESSAGE_RECEIVED, USAGE_DENIED

_SIGNUPS = """
SELECT date_trunc($1, created_at, 'UTC') AS starts_at, count(*) AS value FROM tenants
WHERE id >= $2 AND id < $3 GROUP BY 1
"""
_LEASES = """
SELECT date_trunc($1, started_at, 'UTC') AS starts_at, count(*) AS value FROM leases
WHERE id >= $2 AND id < $3 GROUP BY 1
"""
# Mails are erased with their leases; the facts of them stay.
_MESSAGES = f"""
SELECT date_trunc($1, at, 'UTC') AS starts_at, count(*) AS value FROM facts
WHERE type = '{MESSAGE_RECEIVED}' AND id >= $2 AND id < $3 GROUP BY 1
"""
_USAGE = """
SELECT date_trunc($1, occurred_at, 'UTC') AS starts_at, sum(free_quantity + paid_quantity)::bigint AS value
FROM usage_events WHERE id >= $2 AND id < $3 GROUP BY 1
"""
_REVENUE = """
SELECT date_trunc($1, occurred_at, 'UTC') AS starts_at, sum(amount_micros)::bigint AS value
FROM usage_events WHERE id >= $2 AND id < $3 GROUP BY 1
"""
_DENIALS = f"""
SELECT date_trunc($1, at, 'UTC') AS starts_at, count(*) AS value FROM facts
WHERE type = '{USAGE_DENIED}' AND id >= $2 AND id < $3 GROUP BY 1
"""
# An id's first 48 bits are its fact's moment in milliseconds: a replay makes deliveries later. Kept for 30 days.
_OF_ID = "to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)"
_DELIVERIES = f"""
SELECT date_trunc($1, {_OF_ID}, 'UTC') AS starts_at, count(*) AS value FROM webhook_deliveries
WHERE id >= $2 AND id < $3 GROUP BY 1
"""
_DEAD_DELIVERIES = f"""
SELECT date_trunc($1, {_OF_ID}, 'UTC') AS starts_at, count(*) AS value FROM webhook_deliveries
WHERE state = 'dead' AND id >= $2 AND id < $3 GROUP BY 1
"""
SERIES: Mapping[str, str] = {
    "signups": _SIGNUPS,
    "leases": _LEASES,
    "messages": _MESSAGES,
    "usage": _USAGE,
    "revenue": _REVENUE,
    "denials": _DENIALS,
    "deliveries": _DELIVERIES,
    "dead_deliveries": _DEAD_DELIVERIES,
}
_NOW = f"""
SELECT (SELECT count(*) FROM tenants WHERE status = 'active') AS tenants_active,
       (SELECT count(*) FROM tenants WHERE status = 'suspended') AS tenants_suspended,
       (SELECT count(*) FROM tenants WHERE status = 'closed') AS tenants_closed,
       (SELECT count(*) FROM tenants WHERE id >= $2) AS signups_24h,
       (SELECT count(*) FROM leases WHERE purged_at IS NULL AND expires_at > $1 AND state <> 'released') AS live_leases,
       (SELECT count(*) FROM leases WHERE id >= $2) AS leases_24h,
       (SELECT count(*) FROM facts WHERE type = '{MESSAGE_RECEIVED}' AND id >= $2) AS messages_24h,
       (SELECT count(*) FROM usage_events WHERE id >= $2) AS usage_events_24h,
       (SELECT count(*) FROM facts WHERE type = '{USAGE_DENIED}' AND id >= $2) AS denials_24h,
       (SELECT count(*) FROM webhooks WHERE status = 'enabled') AS webhooks_enabled,
       (SELECT count(*) FROM webhook_deliveries WHERE id >= $2) AS deliveries_24h,
       (SELECT count(*) FROM webhook_deliveries WHERE state = 'dead' AND id >= $2) AS dead_deliveries_24h,
       (SELECT coalesce(sum(amount_micros), 0)::bigint FROM usage_events WHERE id >= $3) AS revenue_month_micros,
       (SELECT coalesce(sum(balance_micros), 0)::bigint FROM tenant_funds) AS balance_micros,
       (SELECT coalesce(sum(held_micros), 0)::bigint FROM tenant_funds) AS held_micros,
       (SELECT coalesce(sum(receivable_micros), 0)::bigint FROM tenant_funds) AS receivable_micros
"""
# What each periodic job has before it; a job that runs keeps these near nothing.
_BACKLOG = """
SELECT 'parse' AS job, count(*) AS waiting, min(received_at) AS oldest_at FROM mails WHERE state = 'pending'
UNION ALL
SELECT 'holds', count(*), min(expires_at) FROM payment_proofs WHERE state = 'held' AND expires_at <= $1
UNION ALL
SELECT 'purge', count(*), min(expires_at) FROM leases WHERE purged_at IS NULL AND expires_at < $2
UNION ALL
SELECT 'invoices', count(*), min(drawn_at) FROM invoices WHERE state = 'draft'
UNION ALL
SELECT 'seal', count(*), min(at) FROM audit_rows
WHERE (xid, id) > (SELECT coalesce(max(r.xid), '0'::xid8),
                          coalesce(max(r.id::text), '00000000-0000-0000-0000-000000000000')::uuid
                   FROM (SELECT row_id FROM seal_leaves WHERE log = 'audit' ORDER BY leaf DESC LIMIT 1) AS last
                   JOIN audit_rows r ON r.id = last.row_id)
"""


async def series(tx: Tx, name: str, step: str, first: object, before: object) -> Sequence[Record]:
    """Sums of one figure by `hour` or `day` (UTC); steps in which nothing happened are left out."""
    return await tx.all(SERIES[name], step, first, before)


async def present(tx: Tx, at: datetime, since_day: object, since_month: object) -> Record:
    row = await tx.one(_NOW, at, since_day, since_month)
    assert row is not None
    return row


async def backlog(tx: Tx, at: datetime, purge_before: datetime) -> Sequence[Record]:
    return await tx.all(_BACKLOG, at, purge_before)
