"""SQL of closing months: how far it has come, what is still to be done, and whether invoices agree with the ledger."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.billing.invoice_model import Progress
from leasebox.billing.statement import InvoiceId
from leasebox.billing.usage import Month
from leasebox.infra.db import Tx
from leasebox.values.ids import TenantId

_PROGRESS = "SELECT period, seen_xid::text::bigint AS seen FROM closed_months ORDER BY period DESC LIMIT 1"
_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_FIRST_EVENT = "SELECT occurred_at FROM usage_events ORDER BY id LIMIT 1"
_UNBILLED_TENANTS = """
SELECT DISTINCT e.tenant_id FROM usage_events e LEFT JOIN invoice_events i ON i.event_id = e.id
WHERE e.id >= $1 AND e.id < $2 AND i.event_id IS NULL ORDER BY e.tenant_id
"""
# What was committed since closing last looked, of months that are closed.
_STRAGGLERS = """
SELECT DISTINCT e.tenant_id, date_trunc('month', e.occurred_at, 'UTC') AS month
FROM usage_events e LEFT JOIN invoice_events i ON i.event_id = e.id
WHERE e.xid >= $1::text::xid8 AND e.xid < $2::text::xid8 AND e.id < $3 AND i.event_id IS NULL ORDER BY 1, 2
"""
_DRAFTS = "SELECT tenant_id, period FROM invoices WHERE state = 'draft' ORDER BY id"
_NOTHING_DUE = """
SELECT tenant_id, id FROM invoices
WHERE state = 'issued' AND credited_micros + settled_micros = on_credit_micros ORDER BY id
"""
_CLOSE = """
INSERT INTO closed_months (period, closed_at, seen_xid) VALUES ($1, $2, $3::text::xid8) ON CONFLICT DO NOTHING
"""
_SEEN = "UPDATE closed_months SET seen_xid = $2::text::xid8 WHERE period = $1 AND seen_xid < $2::text::xid8"


async def progress(tx: Tx) -> Progress:
    """The last month that is closed, and how far it was searched."""
    row = await tx.one(_PROGRESS)
    return Progress(None, 0) if row is None else Progress(row["period"], row["seen"])


async def horizon(tx: Tx) -> int:
    """No writer below is still at work."""
    xid: int = await tx.value(_HORIZON)
    return xid


async def first_event_at(tx: Tx) -> datetime | None:
    moment: datetime | None = await tx.value(_FIRST_EVENT)
    return moment


async def unbilled_tenants(tx: Tx, month: Month) -> list[TenantId]:
    """Who has events of a month on no invoice."""
    rows = await tx.all(_UNBILLED_TENANTS, month.first_id, month.below_id)
    return [TenantId.of(row["tenant_id"]) for row in rows]


async def stragglers(tx: Tx, seen: int, below: int, month: Month) -> list[tuple[TenantId, datetime]]:
    """Who has events on no invoice, of which months up to this one, from writers between two horizons."""
    rows = await tx.all(_STRAGGLERS, str(seen), str(below), month.below_id)
    return [(TenantId.of(row["tenant_id"]), row["month"]) for row in rows]


async def drafts(tx: Tx) -> list[tuple[TenantId, str]]:
    """Tenants and months of all drafts."""
    return [(TenantId.of(row["tenant_id"]), row["period"]) for row in await tx.all(_DRAFTS)]


async def nothing_due(tx: Tx) -> list[tuple[TenantId, InvoiceId]]:
    """Issued invoices that nothing is due on any more."""
    return [(TenantId.of(row["tenant_id"]), InvoiceId.of(row["id"])) for row in await tx.all(_NOTHING_DUE)]


async def close(tx: Tx, month: Month, seen: int, at: datetime) -> None:
    await tx.run(_CLOSE, month.name, at, str(seen))


async def set_seen(tx: Tx, period: str, seen: int) -> None:
    await tx.run(_SEEN, period, str(seen))


# Each row is a difference that must not be. `owed` is what stands on no invoice yet: charges on credit, and holds.
_DISCREPANCIES = """
WITH billed AS (
    SELECT i.invoice_id, count(*) AS events, sum(e.amount_micros) AS amount,
           sum(e.free_quantity) AS free, sum(e.paid_quantity) AS paid,
           sum(e.amount_micros) FILTER (WHERE h.debit = 'receivable') AS on_credit
    FROM invoice_events i JOIN usage_events e ON e.id = i.event_id
    LEFT JOIN ledger_transfers h ON h.proof_id = e.proof_id AND h.kind = 'hold'
    GROUP BY i.invoice_id
), lined AS (
    SELECT invoice_id, sum(amount_micros) AS amount, sum(free_quantity) AS free, sum(paid_quantity) AS paid
    FROM invoice_lines GROUP BY invoice_id
), by_invoice AS (
    SELECT i.tenant_id, v.* FROM invoices i LEFT JOIN billed b ON b.invoice_id = i.id
    LEFT JOIN lined l ON l.invoice_id = i.id
    CROSS JOIN LATERAL (VALUES
        ('invoice = events', i.event_count, coalesce(b.events, 0)),
        ('invoice = usage', i.total_micros, coalesce(b.amount, 0)),
        ('invoice = lines', i.total_micros, coalesce(l.amount, 0)),
        ('free = lines', coalesce(b.free, 0), coalesce(l.free, 0)),
        ('paid = lines', coalesce(b.paid, 0), coalesce(l.paid, 0)),
        ('on credit = holds', i.on_credit_micros, coalesce(b.on_credit, 0))
    ) v (rule, one, other)
), owed AS (
    SELECT h.tenant_id, sum(h.amount_micros) AS amount FROM ledger_transfers h
    JOIN payment_proofs p ON p.id = h.proof_id WHERE h.kind = 'hold' AND h.debit = 'receivable' AND p.state = 'held'
    GROUP BY h.tenant_id
    UNION ALL
    SELECT e.tenant_id, sum(e.amount_micros) FROM usage_events e
    JOIN ledger_transfers h ON h.proof_id = e.proof_id AND h.kind = 'hold' AND h.debit = 'receivable'
    JOIN ledger_transfers s ON s.proof_id = e.proof_id AND s.kind = 'spend'
    LEFT JOIN ledger_transfers r ON r.reverses = s.id LEFT JOIN invoice_events i ON i.event_id = e.id
    WHERE i.event_id IS NULL AND r.id IS NULL GROUP BY e.tenant_id
    UNION ALL
    SELECT tenant_id, sum(on_credit_micros - credited_micros - settled_micros) FROM invoices GROUP BY tenant_id
)
SELECT tenant_id, rule, (one - other)::bigint AS difference_micros FROM by_invoice WHERE one <> other
UNION ALL
SELECT f.tenant_id, 'receivable = owed', (f.receivable_micros - coalesce(sum(o.amount), 0))::bigint
FROM tenant_funds f LEFT JOIN owed o USING (tenant_id) GROUP BY f.tenant_id, f.receivable_micros
HAVING f.receivable_micros <> coalesce(sum(o.amount), 0)
ORDER BY 1, 2
"""


async def discrepancies(tx: Tx) -> Sequence[Record]:
    return await tx.all(_DISCREPANCIES)
