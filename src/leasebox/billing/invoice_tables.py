"""Tables of invoices. What an invoice says is never changed once it is issued: the database refuses it by trigger.

An event stands on one invoice at most, because `invoice_events` has it as its key. What is still due moves only with a
row that says why: a settlement, or a reversing transfer.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import UUID

from leasebox.infra.db import metadata
from leasebox.infra.facts_log import Xid8

_PERIOD = "period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'"

invoices = Table(
    "invoices",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("period", Text, nullable=False),
    # 0 is the month's invoice; 1 and on hold what was committed only after the one before was drawn up.
    Column("supplement", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("total_micros", BigInteger, nullable=False),
    # Of the total: paid from the balance as it was used, and drawn on credit.
    Column("prepaid_micros", BigInteger, nullable=False),
    Column("on_credit_micros", BigInteger, nullable=False),
    # Of what was drawn on credit: given back, and settled. The rest is due.
    Column("credited_micros", BigInteger, nullable=False),
    Column("settled_micros", BigInteger, nullable=False),
    # Merkle roots of the events, 256 at a time: a proof then needs no more than that many of them.
    Column("chunk_hashes", LargeBinary, nullable=False),
    Column("statement_hash", LargeBinary),
    Column("drawn_at", DateTime(timezone=True), nullable=False),
    # When its last event was put on the draft.
    Column("gathered_at", DateTime(timezone=True)),
    Column("issued_at", DateTime(timezone=True)),
    Column("paid_at", DateTime(timezone=True)),
    Column("voided_at", DateTime(timezone=True)),
    CheckConstraint(_PERIOD, name="period"),
    CheckConstraint("state IN ('draft', 'issued', 'paid', 'void')", name="state"),
    CheckConstraint("supplement >= 0 AND event_count >= 0", name="range"),
    CheckConstraint(
        "prepaid_micros >= 0 AND on_credit_micros >= 0 AND total_micros = prepaid_micros + on_credit_micros",
        name="total",
    ),
    CheckConstraint(
        "credited_micros >= 0 AND settled_micros >= 0 AND credited_micros + settled_micros <= on_credit_micros",
        name="due",
    ),
    CheckConstraint(
        "(state = 'draft') = (statement_hash IS NULL) AND (state = 'draft') = (issued_at IS NULL)", name="issued"
    ),
    CheckConstraint(
        "(state = 'paid') = (paid_at IS NOT NULL)"
        " AND (state <> 'paid' OR credited_micros + settled_micros = on_credit_micros)",
        name="paid",
    ),
    CheckConstraint(
        "(state = 'void') = (voided_at IS NOT NULL)"
        " AND (state <> 'void' OR settled_micros = 0 AND credited_micros = on_credit_micros)",
        name="void",
    ),
    Index("invoices_tenant_id_period_supplement_key", "tenant_id", "period", "supplement", unique=True),
    Index(None, "tenant_id", "id"),
    Index("invoices_open_idx", "state", "id", postgresql_where="state IN ('draft', 'issued')"),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("invoice_id", UUID, ForeignKey("invoices.id"), primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("price_version", Integer, primary_key=True, autoincrement=False),
    Column("unit_price_micros", BigInteger, nullable=False),
    Column("free_quantity", BigInteger, nullable=False),
    Column("paid_quantity", BigInteger, nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    CheckConstraint("free_quantity >= 0 AND paid_quantity >= 0", name="quantity"),
    CheckConstraint("amount_micros = unit_price_micros * paid_quantity", name="amount"),
)

invoice_events = Table(
    "invoice_events",
    metadata,
    # Alone the key: no event is charged on two invoices. That it is the tenant's own, a trigger asks.
    Column("event_id", UUID, primary_key=True),
    Column("invoice_id", UUID, ForeignKey("invoices.id"), nullable=False),
    # Its place in the statement, from 0.
    Column("seq", BigInteger, nullable=False),
    Index("invoice_events_invoice_id_seq_key", "invoice_id", "seq", unique=True),
)

invoice_settlements = Table(
    "invoice_settlements",
    metadata,
    # A trigger asks for the transfer and takes its amount.
    Column("transfer_id", UUID, primary_key=True),
    Column("invoice_id", UUID, ForeignKey("invoices.id"), nullable=False),
    Index(None, "invoice_id"),
)

credit_notes = Table(
    "credit_notes",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("invoice_id", UUID, ForeignKey("invoices.id"), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("amount_micros > 0", name="amount"),
    Index(None, "invoice_id", "id"),
)

credit_note_charges = Table(
    "credit_note_charges",
    metadata,
    Column("event_id", UUID, primary_key=True),
    Column("note_id", UUID, ForeignKey("credit_notes.id"), nullable=False),
    Column("transfer_id", UUID, nullable=False),
    Index(None, "note_id"),
)

closed_months = Table(
    "closed_months",
    metadata,
    Column("period", Text, primary_key=True),
    Column("closed_at", DateTime(timezone=True), nullable=False),
    # Events of this month and before were looked for among all writers below; further ones can only be above.
    Column("seen_xid", Xid8, nullable=False),
    CheckConstraint(_PERIOD, name="period"),
)
