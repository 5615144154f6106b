"""Invoices over usage events, their lines and settlements, credit notes, and which months are closed.

What is issued stays as it is, and what is due on it moves with the ledger: both are triggers here.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = """
CREATE TABLE invoices (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    period TEXT NOT NULL,
    supplement SMALLINT NOT NULL,
    state TEXT NOT NULL,
    event_count BIGINT NOT NULL,
    total_micros BIGINT NOT NULL,
    prepaid_micros BIGINT NOT NULL,
    on_credit_micros BIGINT NOT NULL,
    credited_micros BIGINT NOT NULL,
    settled_micros BIGINT NOT NULL,
    chunk_hashes BYTEA NOT NULL,
    statement_hash BYTEA,
    drawn_at TIMESTAMP WITH TIME ZONE NOT NULL,
    gathered_at TIMESTAMP WITH TIME ZONE,
    issued_at TIMESTAMP WITH TIME ZONE,
    paid_at TIMESTAMP WITH TIME ZONE,
    voided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT invoices_pkey PRIMARY KEY (id),
    CONSTRAINT invoices_period_check CHECK (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    CONSTRAINT invoices_state_check CHECK (state IN ('draft', 'issued', 'paid', 'void')),
    CONSTRAINT invoices_range_check CHECK (supplement >= 0 AND event_count >= 0),
    CONSTRAINT invoices_total_check
        CHECK (prepaid_micros >= 0 AND on_credit_micros >= 0 AND total_micros = prepaid_micros + on_credit_micros),
    CONSTRAINT invoices_due_check
        CHECK (credited_micros >= 0 AND settled_micros >= 0 AND credited_micros + settled_micros <= on_credit_micros),
    CONSTRAINT invoices_issued_check
        CHECK ((state = 'draft') = (statement_hash IS NULL) AND (state = 'draft') = (issued_at IS NULL)),
    CONSTRAINT invoices_paid_check
        CHECK ((state = 'paid') = (paid_at IS NOT NULL)
            AND (state <> 'paid' OR credited_micros + settled_micros = on_credit_micros)),
    CONSTRAINT invoices_void_check
        CHECK ((state = 'void') = (voided_at IS NOT NULL)
            AND (state <> 'void' OR settled_micros = 0 AND credited_micros = on_credit_micros)),
    CONSTRAINT invoices_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX invoices_open_idx ON invoices (state, id) WHERE state IN ('draft', 'issued');
CREATE INDEX invoices_tenant_id_id_idx ON invoices (tenant_id, id);
CREATE UNIQUE INDEX invoices_tenant_id_period_supplement_key ON invoices (tenant_id, period, supplement);

CREATE TABLE invoice_lines (
    invoice_id UUID NOT NULL,
    meter TEXT NOT NULL,
    price_version INTEGER NOT NULL,
    unit_price_micros BIGINT NOT NULL,
    free_quantity BIGINT NOT NULL,
    paid_quantity BIGINT NOT NULL,
    amount_micros BIGINT NOT NULL,
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (invoice_id, meter, price_version),
    CONSTRAINT invoice_lines_quantity_check CHECK (free_quantity >= 0 AND paid_quantity >= 0),
    CONSTRAINT invoice_lines_amount_check CHECK (amount_micros = unit_price_micros * paid_quantity),
    CONSTRAINT invoice_lines_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);

CREATE TABLE invoice_events (
    event_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    CONSTRAINT invoice_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT invoice_events_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);
CREATE UNIQUE INDEX invoice_events_invoice_id_seq_key ON invoice_events (invoice_id, seq);

CREATE TABLE invoice_settlements (
    transfer_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    CONSTRAINT invoice_settlements_pkey PRIMARY KEY (transfer_id),
    CONSTRAINT invoice_settlements_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);
CREATE INDEX invoice_settlements_invoice_id_idx ON invoice_settlements (invoice_id);

CREATE TABLE credit_notes (
    id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    amount_micros BIGINT NOT NULL,
    reason TEXT NOT NULL,
    made_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT credit_notes_pkey PRIMARY KEY (id),
    CONSTRAINT credit_notes_amount_check CHECK (amount_micros > 0),
    CONSTRAINT credit_notes_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);
CREATE INDEX credit_notes_invoice_id_id_idx ON credit_notes (invoice_id, id);

CREATE TABLE credit_note_charges (
    event_id UUID NOT NULL,
    note_id UUID NOT NULL,
    transfer_id UUID NOT NULL,
    CONSTRAINT credit_note_charges_pkey PRIMARY KEY (event_id),
    CONSTRAINT credit_note_charges_note_id_fkey FOREIGN KEY(note_id) REFERENCES credit_notes (id)
);
CREATE INDEX credit_note_charges_note_id_idx ON credit_note_charges (note_id);

CREATE TABLE closed_months (
    period TEXT NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_xid xid8 NOT NULL,
    CONSTRAINT closed_months_pkey PRIMARY KEY (period),
    CONSTRAINT closed_months_period_check CHECK (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$')
);
"""
# A draft grows until it is issued. From then on only its state changes, as far as it may, and what was given back or
# settled, which only the ledger's triggers below move. A settlement taken back makes a paid invoice due again.
_KEEP = (
    """
CREATE FUNCTION keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.tenant_id, NEW.period, NEW.supplement, NEW.drawn_at)
            IS DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.period, OLD.supplement, OLD.drawn_at)
        OR (OLD.state, NEW.state) NOT IN (('draft', 'draft'), ('draft', 'issued'), ('issued', 'issued'),
            ('issued', 'paid'), ('issued', 'void'), ('paid', 'issued'))
        OR (OLD.state = 'paid' AND pg_trigger_depth() = 1)
        OR (OLD.state <> 'draft' AND (NEW.event_count, NEW.total_micros, NEW.prepaid_micros, NEW.on_credit_micros,
                NEW.chunk_hashes, NEW.statement_hash, NEW.gathered_at, NEW.issued_at)
            IS DISTINCT FROM (OLD.event_count, OLD.total_micros, OLD.prepaid_micros, OLD.on_credit_micros,
                OLD.chunk_hashes, OLD.statement_hash, OLD.gathered_at, OLD.issued_at))
        OR (OLD.state <> 'draft' AND pg_trigger_depth() = 1 AND (NEW.credited_micros, NEW.settled_micros)
            IS DISTINCT FROM (OLD.credited_micros, OLD.settled_micros))
    THEN
        RAISE EXCEPTION 'an invoice is corrected by credit notes, never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$
""",
    "CREATE TRIGGER invoices_keep BEFORE UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION keep_invoice()",
    """
CREATE FUNCTION keep_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_OP = 'UPDATE' AND (OLD.invoice_id, OLD.meter, OLD.price_version, OLD.unit_price_micros)
            IS DISTINCT FROM (NEW.invoice_id, NEW.meter, NEW.price_version, NEW.unit_price_micros))
        OR NOT EXISTS (SELECT FROM invoices WHERE id = NEW.invoice_id AND state = 'draft')
    THEN
        RAISE EXCEPTION 'only a draft takes lines' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$
""",
    """
CREATE TRIGGER invoice_lines_keep BEFORE INSERT OR UPDATE ON invoice_lines FOR EACH ROW EXECUTE FUNCTION keep_line()
""",
    """
CREATE FUNCTION keep_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM invoices i JOIN usage_events e ON e.tenant_id = i.tenant_id
        WHERE i.id = NEW.invoice_id AND i.state = 'draft' AND e.id = NEW.event_id
    ) THEN
        RAISE EXCEPTION 'only a draft takes events, and only its tenant''s' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$
""",
    "CREATE TRIGGER invoice_events_keep BEFORE INSERT ON invoice_events FOR EACH ROW EXECUTE FUNCTION keep_event()",
)
_LEDGER = (
    """
CREATE FUNCTION settle_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE invoices i SET settled_micros = i.settled_micros + t.amount_micros
    FROM ledger_transfers t
    WHERE i.id = NEW.invoice_id AND i.state = 'issued' AND t.id = NEW.transfer_id AND t.tenant_id = i.tenant_id
        AND t.kind = 'settlement' AND t.credit = 'receivable';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a settlement pays an issued invoice of its tenant' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER invoice_settlements_settle AFTER INSERT ON invoice_settlements
    FOR EACH ROW EXECUTE FUNCTION settle_invoice()
""",
    # The charge's own invoice is credited while that much is due on it; what was paid long ago goes to the balance.
    """
CREATE FUNCTION reverse_on_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE invoices i SET settled_micros = i.settled_micros - NEW.amount_micros, state = 'issued', paid_at = NULL
    FROM invoice_settlements s WHERE s.transfer_id = NEW.reverses AND i.id = s.invoice_id AND i.state = 'paid';
    IF FOUND OR NEW.event_id IS NULL OR NEW.credit <> 'receivable' THEN
        RETURN NEW;
    END IF;
    UPDATE invoices i SET credited_micros = i.credited_micros + NEW.amount_micros
    FROM invoice_events e
    WHERE e.event_id = NEW.event_id AND i.id = e.invoice_id AND i.state IN ('draft', 'issued')
        AND i.credited_micros + i.settled_micros + NEW.amount_micros <= i.on_credit_micros;
    IF NOT FOUND AND EXISTS (SELECT FROM invoice_events e WHERE e.event_id = NEW.event_id) THEN
        NEW.credit := 'balance';
    END IF;
    RETURN NEW;
END
$$
""",
    """
CREATE TRIGGER ledger_transfers_reverse_on_invoice BEFORE INSERT ON ledger_transfers
    FOR EACH ROW WHEN (NEW.kind = 'reversal') EXECUTE FUNCTION reverse_on_invoice()
""",
)
_STANDING = tuple(
    f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} FOR EACH {each} EXECUTE FUNCTION refuse_change()"
    for tables, name, event, each in (
        (("invoice_events", "invoice_settlements", "credit_notes", "credit_note_charges"), "append_only",
         "UPDATE OR DELETE", "ROW"),
        (("invoices", "invoice_lines"), "stay", "DELETE", "ROW"),
        (("invoices", "invoice_lines", "invoice_events", "invoice_settlements", "credit_notes",
          "credit_note_charges"), "no_truncate", "TRUNCATE", "STATEMENT"),
    )
    for table in tables
)  # fmt: skip


def upgrade() -> None:
    tables = (statement for statement in _TABLES.split(";") if statement.strip())
    for statement in (*tables, *_KEEP, *_LEDGER, *_STANDING):
        op.execute(statement)
