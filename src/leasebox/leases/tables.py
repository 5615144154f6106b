"""Tables of leases.

`addresses` decides who has a name: one row a name, claimed by one guarded upsert. Times in it are compared with the
caller's clock, so an ended lease frees or holds its name without any job.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from leasebox.infra.db import metadata

mailboxes = Table(
    "mailboxes",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("display_name", Text),
    Column("metadata", JSONB, nullable=False),
    # IMAP's two numbers (RFC 3501 §2.3.1.1): every message gets its UID when it is accepted.
    Column("uid_validity", BigInteger, nullable=False),
    Column("next_uid", BigInteger, nullable=False),
    # Messages are numbered a second time when they become visible: `since` walks that order, so it skips nothing.
    Column("next_seq", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("erased_at", DateTime(timezone=True)),
    CheckConstraint("origin IN ('generated', 'chosen')", name="origin"),
    Index(None, "tenant_id", "id"),
)

leases = Table(
    "leases",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("mailbox_id", UUID, ForeignKey("mailboxes.id"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("frozen_at", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True), nullable=False),
    # The end by the clock; releasing moves it to the present, so one comparison decides everywhere.
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("released_at", DateTime(timezone=True)),
    Column("password_hash", Text, nullable=False),
    Column("password_set_at", DateTime(timezone=True), nullable=False),
    Column("used_bytes", BigInteger, nullable=False),
    Column("used_messages", Integer, nullable=False),
    Column("purged_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('active', 'paused', 'released')", name="state"),
    CheckConstraint("used_bytes >= 0 AND used_messages >= 0", name="used"),
    Index(None, "tenant_id", "id"),
    Index(None, "mailbox_id", "id"),
    Index("leases_unpurged_idx", "expires_at", postgresql_where="purged_at IS NULL"),
)

addresses = Table(
    "addresses",
    metadata,
    Column("address", Text, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("mailbox_id", UUID, ForeignKey("mailboxes.id"), nullable=False),
    Column("lease_id", UUID, ForeignKey("leases.id"), nullable=False),
    Column("origin", Text, nullable=False),
    Column("leased_until", DateTime(timezone=True), nullable=False),
    # Until then only its last tenant may lease a chosen name again; a generated one is never issued twice.
    Column("held_until", DateTime(timezone=True), nullable=False),
    Index(None, "lease_id"),
)
