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
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from leasebox.infra.db import metadata
from leasebox.infra.reseal import KID_CHECK

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
    Index(None, "domain"),
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
    # When the next word of its life is due as a fact: that it is about to end, then that it has. Null: its end is told.
    Column("tell_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('active', 'paused', 'released')", name="state"),
    CheckConstraint("used_bytes >= 0 AND used_messages >= 0", name="used"),
    Index(None, "tenant_id", "id"),
    Index(None, "tenant_id", "agent_id", "id"),
    Index(None, "mailbox_id", "id"),
    Index("leases_unpurged_idx", "expires_at", postgresql_where="purged_at IS NULL"),
    # Those that last are among few, however many a tenant has had.
    Index("leases_unpurged_of_tenant_idx", "tenant_id", "expires_at", postgresql_where="purged_at IS NULL"),
    Index(None, "tell_at", postgresql_where="tell_at IS NOT NULL"),
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
    # Erased when the key is first used.
    Column("sealed_key", LargeBinary),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("lease_id", UUID, ForeignKey("leases.id")),
    Column("collected_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('pending', 'approved', 'declined')", name="state"),
    CheckConstraint("reason IN ('by_person', 'address_taken')", name="reason"),
    Index(None, "expires_at"),
    Index(None, "key_hash"),
)

# A domain that a tenant brings along. Several tenants may wait for one name; at most one of them ever has it. Leases
# stand on a verified domain of their own tenant only: whatever ends the one ends the others in the same moment.
domains = Table(
    "domains",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    # Lower case, A-labels.
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    # Why it is pending although it was verified before.
    Column("reason", Text),
    # What its owner publishes; public, so not hashed.
    Column("token", Text, nullable=False),
    # By record, what the DNS showed at the last check.
    Column("found", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("checked_at", DateTime(timezone=True)),
    Column("verified_at", DateTime(timezone=True)),
    # Since when and in how many checks a verified domain's ownership record is not to be seen.
    Column("missing_since", DateTime(timezone=True)),
    Column("misses", Integer, nullable=False),
    UniqueConstraint("tenant_id", "name"),
    CheckConstraint("state IN ('pending', 'verified')", name="state"),
    CheckConstraint("reason IN ('ownership_lost', 'by_operator')", name="reason"),
    CheckConstraint("misses >= 0", name="misses"),
    Index("domains_verified_name_idx", "name", unique=True, postgresql_where="state = 'verified'"),
    Index(None, "name"),
    Index(None, "tenant_id", "id"),
)

# What the DNS showed of the instance's own domains, which the settings name.
own_domains = Table(
    "own_domains",
    metadata,
    Column("name", Text, primary_key=True),
    Column("found", JSONB, nullable=False),
    Column("checked_at", DateTime(timezone=True), nullable=False),
)

# What mail is signed with. domain_id: null for the instance's own domains. One key of each algorithm signs; one may
# wait until its record is published; a retired one is published for some days more, its private half is gone.
dkim_keys = Table(
    "dkim_keys",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("selector", Text, primary_key=True),
    Column("domain_id", UUID, ForeignKey("domains.id", ondelete="CASCADE")),
    Column("algorithm", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("kid", Text, nullable=False),
    Column("sealed", LargeBinary),
    # Base64 of what stands in the record's p= tag.
    Column("public_key", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("retired_at", DateTime(timezone=True)),
    CheckConstraint("algorithm IN ('rsa-sha256', 'ed25519-sha256')", name="algorithm"),
    CheckConstraint("state IN ('signing', 'waiting', 'retired')", name="state"),
    CheckConstraint("(state = 'retired') = (retired_at IS NOT NULL)", name="retired"),
    CheckConstraint("(state = 'retired') = (sealed IS NULL)", name="sealed"),
    CheckConstraint(KID_CHECK, name="kid"),
    Index(
        "dkim_keys_of_domain_idx",
        "domain_id",
        "algorithm",
        "state",
        unique=True,
        postgresql_where="domain_id IS NOT NULL AND state <> 'retired'",
    ),
    Index(
        "dkim_keys_own_idx",
        "domain",
        "algorithm",
        "state",
        unique=True,
        postgresql_where="domain_id IS NULL AND state <> 'retired'",
    ),
)
