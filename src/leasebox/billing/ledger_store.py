"""SQL of the ledger and of spend caps. Every statement names the tenant, except the operator's sums over all."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.billing.model import TransferId
from leasebox.infra.db import Tx
from leasebox.values.ids import Id, KeyId, TenantId
from leasebox.values.money import Usdc

_OPEN = """
INSERT INTO tenant_funds (tenant_id, balance_micros, held_micros, receivable_micros) VALUES ($1, 0, 0, 0)
ON CONFLICT DO NOTHING
"""
_LOCK = "SELECT tenant_id FROM tenant_funds WHERE tenant_id = $1 FOR UPDATE"
_EXISTS = "SELECT true FROM tenants WHERE id = $1"
_GRANT = """
INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, made_by, note)
VALUES ($1, $2, 'grant', 'promotions', 'balance', $3, $4, $5, $6)
"""
_REVERSE = """
SELECT d.outcome, coalesce(t.amount_micros, 0) AS amount_micros FROM reverse_transfer($1, $2, $3, $4, $5, $6) d
LEFT JOIN ledger_transfers t ON t.tenant_id = $2 AND t.id = $3
"""
_CREDIT_LIMIT = "SELECT credit_limit_micros FROM tenant_funds WHERE tenant_id = $1"
_SET_LIMIT = "UPDATE tenant_funds SET credit_limit_micros = $2 WHERE tenant_id = $1"
# What has expired is the tenant's again by the clock alone, so it is counted as given back.
_FUNDS = """
SELECT coalesce(f.balance_micros, 0) + coalesce(e.of_balance, 0) AS balance_micros,
       coalesce(f.held_micros, 0) - coalesce(e.of_balance, 0) - coalesce(e.of_receivable, 0) AS held_micros,
       coalesce(f.receivable_micros, 0) - coalesce(e.of_receivable, 0) AS owed_micros,
       coalesce(f.credit_limit_micros,
                CASE WHEN EXISTS (SELECT FROM wallets w WHERE w.tenant_id = $1) THEN $3::bigint ELSE 0 END
       ) AS credit_limit_micros
FROM (SELECT sum(amount_micros) FILTER (WHERE source = 'balance')::bigint AS of_balance,
             sum(amount_micros) FILTER (WHERE source = 'receivable')::bigint AS of_receivable
      FROM payment_proofs WHERE tenant_id = $1 AND state = 'held' AND expires_at <= $2) e
LEFT JOIN tenant_funds f ON f.tenant_id = $1
"""
_LIST = """
SELECT id, kind, debit, credit, amount_micros, at, proof_id, event_id, reverses, note FROM ledger_transfers
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
_TRIAL = """
SELECT ledger_account, sum(debit_micros)::bigint AS debit_micros, sum(credit_micros)::bigint AS credit_micros
FROM ledger_entries GROUP BY ledger_account ORDER BY ledger_account
"""
# Each row is a difference that must not be: what the ledger says against what something else says of the same money.
_DISCREPANCIES = """
WITH entries AS (
    SELECT tenant_id, ledger_account, sum(credit_micros - debit_micros)::bigint AS micros
    FROM ledger_entries GROUP BY tenant_id, ledger_account
), ledger AS (
    SELECT tenant_id, coalesce(sum(micros) FILTER (WHERE ledger_account = 'balance'), 0) AS balance,
           coalesce(sum(micros) FILTER (WHERE ledger_account = 'held'), 0) AS held,
           -coalesce(sum(micros) FILTER (WHERE ledger_account = 'receivable'), 0) AS receivable,
           coalesce(sum(micros) FILTER (WHERE ledger_account = 'revenue'), 0) AS revenue
    FROM entries GROUP BY tenant_id
), proofs AS (
    SELECT tenant_id, coalesce(sum(amount_micros) FILTER (WHERE state = 'held'), 0) AS held,
           coalesce(sum(charged_micros) FILTER (WHERE state = 'spent'), 0) AS charged
    FROM payment_proofs GROUP BY tenant_id
), metered AS (
    SELECT tenant_id, sum(amount_micros) AS amount FROM usage_events GROUP BY tenant_id
), tenants_all AS (
    SELECT tenant_id FROM ledger UNION SELECT tenant_id FROM proofs UNION SELECT tenant_id FROM metered
    UNION SELECT tenant_id FROM tenant_funds
), compared AS (
    SELECT a.tenant_id, v.* FROM tenants_all a
    LEFT JOIN ledger l USING (tenant_id) LEFT JOIN tenant_funds f USING (tenant_id)
    LEFT JOIN proofs p USING (tenant_id) LEFT JOIN metered m USING (tenant_id)
    CROSS JOIN LATERAL (VALUES
        ('balance = entries', coalesce(f.balance_micros, 0), coalesce(l.balance, 0)),
        ('held = entries', coalesce(f.held_micros, 0), coalesce(l.held, 0)),
        ('receivable = entries', coalesce(f.receivable_micros, 0), coalesce(l.receivable, 0)),
        ('held = proofs', coalesce(f.held_micros, 0), coalesce(p.held, 0)),
        ('revenue = usage', coalesce(l.revenue, 0), coalesce(m.amount, 0)),
        ('usage = proofs', coalesce(m.amount, 0), coalesce(p.charged, 0))
    ) v (rule, one, other)
)
SELECT tenant_id, rule, (one - other)::bigint AS difference_micros FROM compared WHERE one <> other
UNION ALL
SELECT e.tenant_id, 'amount = price version', e.amount_micros FROM usage_events e
LEFT JOIN price_versions p ON p.meter = e.meter AND p.version = e.price_version
WHERE p.unit_price_micros IS DISTINCT FROM e.unit_price_micros
ORDER BY 1, 2
"""


async def open_funds(tx: Tx, tenant_id: TenantId) -> None:
    """A tenant's row, if it has none yet, and its lock: one change of its money at a time."""
    await tx.run(_OPEN, tenant_id)
    await tx.run(_LOCK, tenant_id)


async def has_tenant(tx: Tx, tenant_id: TenantId) -> bool:
    return await tx.value(_EXISTS, tenant_id) is not None


async def grant(
    tx: Tx, tenant_id: TenantId, transfer_id: TransferId, amount: Usdc, at: datetime, actor: str, note: str
) -> None:
    await tx.run(_GRANT, transfer_id, tenant_id, amount.micros, at, actor, note)


async def reverse(
    tx: Tx, tenant_id: TenantId, transfer_id: TransferId, wrong: TransferId, at: datetime, actor: str, note: str
) -> tuple[str, Usdc]:
    """What came of it, and the amount of the transfer that was to be taken back."""
    row = await tx.one(_REVERSE, transfer_id, tenant_id, wrong, at, actor, note)
    assert row is not None
    return row["outcome"], Usdc(row["amount_micros"])


async def credit_limit(tx: Tx, tenant_id: TenantId) -> Usdc | None:
    """What was set; None where the default holds."""
    micros = await tx.value(_CREDIT_LIMIT, tenant_id)
    return None if micros is None else Usdc(micros)


async def set_credit_limit(tx: Tx, tenant_id: TenantId, limit: Usdc | None) -> None:
    await tx.run(_SET_LIMIT, tenant_id, None if limit is None else limit.micros)


async def funds(tx: Tx, tenant_id: TenantId, at: datetime, default_credit: Usdc) -> Record:
    row = await tx.one(_FUNDS, tenant_id, at, default_credit.micros)
    assert row is not None
    return row


async def listed(tx: Tx, tenant_id: TenantId, below: object, limit: int) -> Sequence[Record]:
    return await tx.all(_LIST, tenant_id, below, limit)


async def trial(tx: Tx) -> Sequence[Record]:
    return await tx.all(_TRIAL)


async def discrepancies(tx: Tx) -> Sequence[Record]:
    return await tx.all(_DISCREPANCIES)


_KEY_SCOPES = "SELECT scopes FROM api_keys WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL"
# A cap counts what was held since its window began, so one that is set late is not blind to what went before.
_SET_CAP = """
INSERT INTO spend_caps AS c (subject, span, tenant_id, limit_micros, starts_at, used_micros)
SELECT $2::uuid, $3::text, $1::uuid, $4::bigint, date_trunc($3, $5::timestamptz, 'UTC'),
       coalesce(sum(CASE WHEN state = 'spent' THEN charged_micros ELSE amount_micros END), 0)::bigint
FROM payment_proofs
WHERE tenant_id = $1 AND ($2 = $1 OR held_by = $2) AND state <> 'released'
    AND issued_at >= date_trunc($3, $5::timestamptz, 'UTC')
ON CONFLICT (subject, span) DO UPDATE SET
    limit_micros = $4, starts_at = excluded.starts_at, used_micros = excluded.used_micros
"""
_DROP_CAP = "DELETE FROM spend_caps WHERE tenant_id = $1 AND subject = $2 AND span = $3"
_CAPS = """
SELECT subject, span, limit_micros,
       CASE WHEN starts_at < date_trunc(span, $2::timestamptz, 'UTC') THEN 0 ELSE used_micros END AS used_micros,
       window_end(span, $2) AS resets_at
FROM spend_caps WHERE tenant_id = $1 ORDER BY subject <> $1, subject, span
"""


async def key_scopes(tx: Tx, tenant_id: TenantId, key_id: KeyId) -> list[str] | None:
    """The scopes of a live API key; None if the tenant has no such key."""
    scopes: list[str] | None = await tx.value(_KEY_SCOPES, tenant_id, key_id)
    return scopes


async def set_cap(tx: Tx, tenant_id: TenantId, subject: Id, span: str, limit: Usdc, at: datetime) -> None:
    await tx.run(_SET_CAP, tenant_id, subject, span, limit.micros, at)


async def drop_cap(tx: Tx, tenant_id: TenantId, subject: Id, span: str) -> int:
    return await tx.run(_DROP_CAP, tenant_id, subject, span)


async def caps(tx: Tx, tenant_id: TenantId, at: datetime) -> Sequence[Record]:
    return await tx.all(_CAPS, tenant_id, at)
