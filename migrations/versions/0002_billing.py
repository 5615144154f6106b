"""Billing: versioned prices, allowances, proofs, usage, the ledger and its verbs; answers kept by Idempotency-Key.

The verbs that decide about money are functions, so that a call costs one round trip; they stand in sql/.
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = """
CREATE TABLE price_versions (
    meter TEXT NOT NULL,
    version INTEGER NOT NULL,
    free_units INTEGER NOT NULL,
    span TEXT NOT NULL,
    unit_price_micros BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    made_by TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT price_versions_pkey PRIMARY KEY (meter, version),
    CONSTRAINT price_versions_range_check CHECK (version >= 1 AND free_units >= 0 AND unit_price_micros >= 0),
    CONSTRAINT price_versions_span_check CHECK (span IN ('hour', 'day'))
);

CREATE TABLE allowance_counters (
    tenant_id UUID NOT NULL,
    meter TEXT NOT NULL,
    span TEXT NOT NULL,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used INTEGER NOT NULL,
    CONSTRAINT allowance_counters_pkey PRIMARY KEY (tenant_id, meter, span, starts_at),
    CONSTRAINT allowance_counters_used_check CHECK (used >= 0)
);
CREATE INDEX allowance_counters_starts_at_idx ON allowance_counters (starts_at);

CREATE TABLE payment_proofs (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    held_by UUID NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    meter TEXT NOT NULL,
    price_version INTEGER NOT NULL,
    unit_price_micros BIGINT NOT NULL,
    quantity INTEGER NOT NULL,
    amount_micros BIGINT NOT NULL,
    charged_micros BIGINT,
    source TEXT,
    state TEXT NOT NULL,
    issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT payment_proofs_pkey PRIMARY KEY (id),
    CONSTRAINT payment_proofs_state_check CHECK (state IN ('held', 'spent', 'released')),
    CONSTRAINT payment_proofs_source_check CHECK (source IN ('balance', 'receivable')),
    CONSTRAINT payment_proofs_amount_check CHECK (quantity >= 1 AND amount_micros = unit_price_micros * quantity),
    CONSTRAINT payment_proofs_charged_check CHECK (charged_micros BETWEEN 0 AND amount_micros)
);
CREATE INDEX payment_proofs_due_idx ON payment_proofs (expires_at) WHERE state = 'held';
CREATE INDEX payment_proofs_held_idx ON payment_proofs (tenant_id, expires_at) WHERE state = 'held';

CREATE TABLE usage_events (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    agent_id UUID,
    credential_id UUID NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    meter TEXT NOT NULL,
    price_version INTEGER NOT NULL,
    unit_price_micros BIGINT NOT NULL,
    free_quantity INTEGER NOT NULL,
    paid_quantity INTEGER NOT NULL,
    amount_micros BIGINT NOT NULL,
    proof_id UUID,
    request_id TEXT NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT usage_events_pkey PRIMARY KEY (id),
    CONSTRAINT usage_events_quantity_check
        CHECK (free_quantity >= 0 AND paid_quantity >= 0 AND free_quantity + paid_quantity >= 1),
    CONSTRAINT usage_events_amount_check CHECK (amount_micros = unit_price_micros * paid_quantity),
    CONSTRAINT usage_events_paid_check CHECK (paid_quantity = 0 OR proof_id IS NOT NULL)
);
CREATE UNIQUE INDEX usage_events_proof_id_key ON usage_events (proof_id) WHERE proof_id IS NOT NULL;
CREATE INDEX usage_events_tenant_id_id_idx ON usage_events (tenant_id, id);
CREATE INDEX usage_events_xid_id_idx ON usage_events (xid, id);

CREATE TABLE tenant_funds (
    tenant_id UUID NOT NULL,
    balance_micros BIGINT NOT NULL,
    held_micros BIGINT NOT NULL,
    receivable_micros BIGINT NOT NULL,
    credit_limit_micros BIGINT,
    CONSTRAINT tenant_funds_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenant_funds_balance_check CHECK (balance_micros >= 0),
    CONSTRAINT tenant_funds_held_check CHECK (held_micros >= 0),
    CONSTRAINT tenant_funds_receivable_check CHECK (receivable_micros >= 0),
    CONSTRAINT tenant_funds_credit_limit_check CHECK (credit_limit_micros >= 0),
    CONSTRAINT tenant_funds_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);

CREATE TABLE ledger_transfers (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount_micros BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    proof_id UUID,
    event_id UUID,
    reverses UUID,
    made_by TEXT NOT NULL,
    note TEXT NOT NULL,
    CONSTRAINT ledger_transfers_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_transfers_amount_check CHECK (amount_micros > 0),
    CONSTRAINT ledger_transfers_two_sides_check CHECK (debit <> credit),
    CONSTRAINT ledger_transfers_debit_check
        CHECK (debit IN ('balance', 'held', 'receivable', 'revenue', 'promotions', 'clearing', 'refunds')),
    CONSTRAINT ledger_transfers_credit_check
        CHECK (credit IN ('balance', 'held', 'receivable', 'revenue', 'promotions', 'clearing', 'refunds')),
    CONSTRAINT ledger_transfers_kind_check
        CHECK (kind IN ('grant', 'hold', 'spend', 'release', 'reversal', 'settlement', 'deposit')),
    CONSTRAINT ledger_transfers_reversal_check CHECK ((kind = 'reversal') = (reverses IS NOT NULL)),
    CONSTRAINT ledger_transfers_spend_check
        CHECK (kind <> 'spend' OR (proof_id IS NOT NULL AND event_id IS NOT NULL)),
    CONSTRAINT ledger_transfers_reverses_fkey FOREIGN KEY(reverses) REFERENCES ledger_transfers (id)
);
CREATE UNIQUE INDEX ledger_transfers_proof_key ON ledger_transfers (proof_id, kind) WHERE proof_id IS NOT NULL;
CREATE UNIQUE INDEX ledger_transfers_reverses_key ON ledger_transfers (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX ledger_transfers_tenant_id_id_idx ON ledger_transfers (tenant_id, id);

CREATE TABLE spend_caps (
    subject UUID NOT NULL,
    span TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    limit_micros BIGINT NOT NULL,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_micros BIGINT NOT NULL,
    CONSTRAINT spend_caps_pkey PRIMARY KEY (subject, span),
    CONSTRAINT spend_caps_span_check CHECK (span IN ('day', 'month')),
    CONSTRAINT spend_caps_range_check CHECK (limit_micros >= 0 AND used_micros >= 0)
);
CREATE INDEX spend_caps_tenant_id_idx ON spend_caps (tenant_id);

CREATE TABLE kept_answers (
    tenant_id UUID NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    status SMALLINT NOT NULL,
    kid TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT kept_answers_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX kept_answers_expires_at_idx ON kept_answers (expires_at);
"""
_ENTRIES = """
CREATE VIEW ledger_entries AS
SELECT id AS transfer_id, tenant_id, kind, debit AS ledger_account, amount_micros AS debit_micros,
       0::bigint AS credit_micros, at
FROM ledger_transfers
UNION ALL
SELECT id, tenant_id, kind, credit, 0, amount_micros, at FROM ledger_transfers
"""
# What was priced, metered or moved stays as it is.
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} FOR EACH {each} EXECUTE FUNCTION refuse_change()"
    for table in ("price_versions", "usage_events", "ledger_transfers")
    for name, event, each in (
        ("append_only", "UPDATE OR DELETE", "ROW"),
        ("no_truncate", "TRUNCATE", "STATEMENT"),
    )
)
# Balances begin at nothing and move by transfers only: whoever sets them by hand is refused.
_FUNDS = (
    """
CREATE FUNCTION move_funds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenant_funds SET
        balance_micros = balance_micros
            + NEW.amount_micros * ((NEW.credit = 'balance')::int - (NEW.debit = 'balance')::int),
        held_micros = held_micros + NEW.amount_micros * ((NEW.credit = 'held')::int - (NEW.debit = 'held')::int),
        receivable_micros = receivable_micros
            + NEW.amount_micros * ((NEW.debit = 'receivable')::int - (NEW.credit = 'receivable')::int)
    WHERE tenant_id = NEW.tenant_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tenant % has no funds to move', NEW.tenant_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER ledger_transfers_move_funds AFTER INSERT ON ledger_transfers
    FOR EACH ROW EXECUTE FUNCTION move_funds()
""",
    """
CREATE TRIGGER tenant_funds_by_transfer BEFORE UPDATE ON tenant_funds FOR EACH ROW
    WHEN (pg_trigger_depth() = 0 AND (OLD.balance_micros, OLD.held_micros, OLD.receivable_micros, OLD.tenant_id)
        IS DISTINCT FROM (NEW.balance_micros, NEW.held_micros, NEW.receivable_micros, NEW.tenant_id))
    EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER tenant_funds_from_nothing BEFORE INSERT ON tenant_funds FOR EACH ROW
    WHEN (NEW.balance_micros <> 0 OR NEW.held_micros <> 0 OR NEW.receivable_micros <> 0)
    EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER tenant_funds_stay BEFORE DELETE ON tenant_funds FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
)
# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0002_billing_verbs.sql").read_text().split("-- verb: ")[1:]


def upgrade() -> None:
    tables = (statement for statement in _TABLES.split(";") if statement.strip())
    for statement in (*tables, _ENTRIES, *_APPEND_ONLY, *_FUNDS):
        op.execute(statement)
    for verb in _VERBS:
        op.execute(f"-- {verb}")
