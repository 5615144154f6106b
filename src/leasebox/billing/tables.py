"""Tables of billing. What was metered, priced or moved is never changed: the database refuses it by trigger.

Amounts are micros of USDC. A tenant's running balances (`tenant_funds`) move only by a row in `ledger_transfers`, which
a trigger applies; our own ledger accounts are sums over the view `ledger_entries`, so no row is shared by all payers.
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
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from leasebox.infra.db import metadata
from leasebox.infra.facts_log import Xid8

price_versions = Table(
    "price_versions",
    metadata,
    Column("meter", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("free_units", Integer, nullable=False),
    # The allowance's window: "window" itself is a word of SQL.
    Column("span", Text, nullable=False),
    Column("unit_price_micros", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # `book` for the operator's file, else the admin who changed the price.
    Column("made_by", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    CheckConstraint("version >= 1 AND free_units >= 0 AND unit_price_micros >= 0", name="range"),
    CheckConstraint("span IN ('hour', 'day')", name="span"),
)

allowance_counters = Table(
    "allowance_counters",
    metadata,
    Column("tenant_id", UUID, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("span", Text, primary_key=True),
    Column("starts_at", DateTime(timezone=True), primary_key=True),
    Column("used", Integer, nullable=False),
    CheckConstraint("used >= 0", name="used"),
    Index(None, "starts_at"),
)

payment_proofs = Table(
    "payment_proofs",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, nullable=False),
    # The session or key that asked for it: its spend cap was charged.
    Column("held_by", UUID, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("price_version", Integer, nullable=False),
    Column("unit_price_micros", BigInteger, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    # What was taken of the amount when it was spent; the rest went back.
    Column("charged_micros", BigInteger),
    # Where the hold was taken from: `balance`, `receivable` (this month's invoice), or NULL when the price is zero.
    Column("source", Text),
    Column("state", Text, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('held', 'spent', 'released')", name="state"),
    CheckConstraint("source IN ('balance', 'receivable')", name="source"),
    CheckConstraint("quantity >= 1 AND amount_micros = unit_price_micros * quantity", name="amount"),
    CheckConstraint("charged_micros BETWEEN 0 AND amount_micros", name="charged"),
    Index("payment_proofs_held_idx", "tenant_id", "expires_at", postgresql_where="state = 'held'"),
    Index("payment_proofs_due_idx", "expires_at", postgresql_where="state = 'held'"),
)

usage_events = Table(
    "usage_events",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, nullable=False),
    Column("agent_id", UUID),
    Column("credential_id", UUID, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("price_version", Integer, nullable=False),
    Column("unit_price_micros", BigInteger, nullable=False),
    Column("free_quantity", Integer, nullable=False),
    Column("paid_quantity", Integer, nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("proof_id", UUID),
    Column("request_id", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    # As in the facts log: whoever reads on from a place stays below the snapshot's horizon.
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    CheckConstraint(
        "free_quantity >= 0 AND paid_quantity >= 0 AND free_quantity + paid_quantity >= 1", name="quantity"
    ),
    CheckConstraint("amount_micros = unit_price_micros * paid_quantity", name="amount"),
    CheckConstraint("paid_quantity = 0 OR proof_id IS NOT NULL", name="paid"),
    Index(None, "tenant_id", "id"),
    Index(None, "xid", "id"),
    Index("usage_events_proof_id_key", "proof_id", unique=True, postgresql_where="proof_id IS NOT NULL"),
)

tenant_funds = Table(
    "tenant_funds",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("balance_micros", BigInteger, nullable=False),
    Column("held_micros", BigInteger, nullable=False),
    Column("receivable_micros", BigInteger, nullable=False),
    # NULL: the default of tenants with a wallet, nothing for those without.
    Column("credit_limit_micros", BigInteger),
    CheckConstraint("balance_micros >= 0", name="balance"),
    CheckConstraint("held_micros >= 0", name="held"),
    CheckConstraint("receivable_micros >= 0", name="receivable"),
    CheckConstraint("credit_limit_micros >= 0", name="credit_limit"),
)

_SIDES = "'balance', 'held', 'receivable', 'revenue', 'promotions', 'clearing', 'refunds'"
ledger_transfers = Table(
    "ledger_transfers",
    metadata,
    Column("id", UUID, primary_key=True),
    # Always a row of tenant_funds: the trigger that moves its balances finds it or refuses the transfer.
    Column("tenant_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("debit", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("proof_id", UUID),
    Column("event_id", UUID),
    Column("reverses", UUID, ForeignKey("ledger_transfers.id")),
    Column("made_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    CheckConstraint("amount_micros > 0", name="amount"),
    CheckConstraint("debit <> credit", name="two_sides"),
    CheckConstraint(f"debit IN ({_SIDES})", name="debit"),
    CheckConstraint(f"credit IN ({_SIDES})", name="credit"),
    CheckConstraint(
        "kind IN ('grant', 'hold', 'spend', 'release', 'reversal', 'settlement', 'deposit')",
        name="kind",
    ),
    CheckConstraint("(kind = 'reversal') = (reverses IS NOT NULL)", name="reversal"),
    CheckConstraint("kind <> 'spend' OR (proof_id IS NOT NULL AND event_id IS NOT NULL)", name="spend"),
    Index(None, "tenant_id", "id"),
    Index("ledger_transfers_proof_key", "proof_id", "kind", unique=True, postgresql_where="proof_id IS NOT NULL"),
    Index("ledger_transfers_reverses_key", "reverses", unique=True, postgresql_where="reverses IS NOT NULL"),
)

spend_caps = Table(
    "spend_caps",
    metadata,
    # Whose spending is capped: the tenant's id for all of it, or the id of one of its API keys.
    Column("subject", UUID, primary_key=True),
    Column("span", Text, primary_key=True),
    Column("tenant_id", UUID, nullable=False),
    Column("limit_micros", BigInteger, nullable=False),
    # The window that `used_micros` counts in; an older one counts as nothing used.
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("used_micros", BigInteger, nullable=False),
    CheckConstraint("span IN ('day', 'month')", name="span"),
    CheckConstraint("limit_micros >= 0 AND used_micros >= 0", name="range"),
    Index(None, "tenant_id"),
)

# Who has been told that little is left; the row goes when there is enough again.
low_balances = Table(
    "low_balances",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False),
)
