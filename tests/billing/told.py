"""The oracle that whatever moved money is told, with its amount, by a usage event or by an audit row of its tenant."""

from leasebox.infra.db import Database

# `moved`: each transfer and what is to tell of it; `told`: what tells, with what it says was moved. A surplus of a hold
# is told by the hold's row and the usage event together.
_UNTOLD = """
WITH acts AS (
    SELECT *, round((detail ->> 'amount_usdc')::numeric * 1000000) AS micros FROM audit_rows
), moved AS (
    SELECT t.tenant_id, t.amount_micros, CASE
        WHEN t.kind = 'grant' THEN 'balance.grant ' || spelled('trf', t.id)
        WHEN t.kind = 'hold' THEN 'payment.hold ' || spelled('prf', t.proof_id)
        WHEN t.kind = 'spend' THEN 'usage ' || t.event_id
        WHEN t.kind = 'release' AND t.made_by = 'clock' THEN 'payment.release ' || rfc3339(t.at)
        WHEN t.kind = 'release' THEN 'surplus ' || t.proof_id
        WHEN t.kind = 'settlement' THEN 'invoice.pay ' || spelled('inv', s.invoice_id)
        WHEN c.note_id IS NOT NULL THEN 'invoice.credit ' || spelled('crn', c.note_id)
        WHEN a.id IS NOT NULL THEN 'transfer.reverse ' || spelled('trf', t.id)
        WHEN t.kind = 'reversal' THEN 'invoice.void ' || spelled('inv', e.invoice_id)
        END AS how
    FROM ledger_transfers t
    LEFT JOIN invoice_settlements s ON s.transfer_id = t.id
    LEFT JOIN credit_note_charges c ON c.transfer_id = t.id
    LEFT JOIN invoice_events e ON e.event_id = t.event_id
    LEFT JOIN acts a ON a.action = 'transfer.reverse' AND a.detail ->> 'transfer_id' = spelled('trf', t.id)
), told AS (
    SELECT tenant_id, micros, action || ' ' || CASE action
        WHEN 'payment.release' THEN rfc3339(at)
        WHEN 'invoice.credit' THEN detail ->> 'credit_note_id'
        WHEN 'transfer.reverse' THEN detail ->> 'transfer_id'
        ELSE resource END AS how
    FROM acts WHERE action IN ('balance.grant', 'payment.hold', 'payment.release', 'invoice.pay', 'invoice.credit',
                               'invoice.void', 'transfer.reverse')
    UNION ALL
    SELECT tenant_id, amount_micros, 'usage ' || id FROM usage_events
    UNION ALL
    SELECT u.tenant_id, a.micros - u.amount_micros, 'surplus ' || u.proof_id FROM usage_events u
    JOIN acts a ON a.action = 'payment.hold' AND a.resource = spelled('prf', u.proof_id)
), both_sides AS (
    SELECT tenant_id, how, amount_micros AS moved, 0 AS told FROM moved
    UNION ALL
    SELECT tenant_id, how, 0, micros FROM told
)
SELECT tenant_id, how, sum(moved)::bigint AS moved, sum(told)::bigint AS told FROM both_sides
GROUP BY tenant_id, how HAVING coalesce(sum(moved) <> sum(told), true) OR bool_or(how IS NULL)
"""
# The rows of metered acts, by the request that both name.
_MISPRICED = """
SELECT a.action, a.request_id, a.detail::text, u.amount_micros, u.price_version
FROM audit_rows a JOIN usage_events u ON u.tenant_id = a.tenant_id AND u.request_id = a.request_id
WHERE a.action || ' ' || u.meter IN ('lease.grant mailbox.lease', 'webhook.make webhook.create')
    AND a.detail IS DISTINCT FROM CASE WHEN u.amount_micros = 0 THEN '{}' ELSE jsonb_build_object(
        'amount_usdc', (u.amount_micros / 1000000.0)::numeric(20, 6)::text, 'price_version', u.price_version) END
"""


async def all_told(db: Database) -> None:
    """Each transfer of the ledger is told, to the micro, and nothing is told that was not moved."""
    assert [dict(row) for row in await db.read(lambda tx: tx.all(_UNTOLD))] == []


async def acts_are_priced(db: Database) -> None:
    """The audit rows of leases and webhooks say what their calls were charged; each call has its own request id."""
    assert [dict(row) for row in await db.read(lambda tx: tx.all(_MISPRICED))] == []
