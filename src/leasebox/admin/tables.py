"""Tables of administering: who is signed in. What admins decide stands in the slice that obeys it."""

from sqlalchemy import BigInteger, Column, DateTime, Index, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from leasebox.audit.tables import audit_rows
from leasebox.infra.db import metadata
from leasebox.infra.facts_log import facts

admin_sessions = Table(
    "admin_sessions",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    # Lower case. Its role is looked up in the settings at each use, so no row can raise it.
    Column("wallet_address", Text, nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Index(None, "expires_at"),
)

# Only admins ask these questions.
Index(None, audit_rows.c.actor, audit_rows.c.id)
Index(None, audit_rows.c.resource, audit_rows.c.id)
Index("facts_denied_idx", facts.c.id, postgresql_where="type = 'usage.denied'")
