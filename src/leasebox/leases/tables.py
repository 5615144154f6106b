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
    LargeBinary,
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

# A stranger's wish for a mailbox. Its link is opened by a person, its token by the program that asked; of both only
# SHA-256 is kept. The API key exists from the beginning, sealed with that token, and opens nothing before approval.
claims = Table(
    "claims",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("asked_from", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("link_hash", LargeBinary, nullable=False, unique=True),
    Column("key_hash", LargeBinary, nullable=False),
    Column("key_hint", Text, nullable=False),
    # Erased when it is fetched.
    Column("sealed_key", LargeBinary),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("lease_id", UUID, ForeignKey("leases.id")),
    CheckConstraint("state IN ('pending', 'approved', 'declined')", name="state"),
    CheckConstraint("reason IN ('by_person', 'address_taken')", name="reason"),
    Index(None, "expires_at"),
)
