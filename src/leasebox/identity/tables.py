"""Tables of identity."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
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

tenants = Table(
    "tenants",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("status", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status"),
)

wallets = Table(
    "wallets",
    metadata,
    Column("address", Text, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("bound_at", DateTime(timezone=True), nullable=False),
    Index(None, "tenant_id"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("wallet_address", Text),
    Column("status", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('active', 'disabled')", name="status"),
    Index(None, "tenant_id", "id"),
    Index("agents_wallet_address_key", "tenant_id", "wallet_address", unique=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id"), nullable=False),
    Column("wallet_address", Text, nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Index(None, "tenant_id", "wallet_address"),
    Index(None, "expires_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("agent_id", UUID, ForeignKey("agents.id")),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("mailbox_ids", ARRAY(UUID)),
    Column("made_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    # Made by a claim, and not used yet.
    Column("awaited", Boolean, nullable=False, server_default=text("false")),
    Index(None, "tenant_id", "id"),
)

# What an admin put in the place of a configured rate. tenant_id NULL: for everybody; only `api` is set per tenant.
rate_overrides = Table(
    "rate_overrides",
    metadata,
    Column("name", Text, nullable=False),
    Column("tenant_id", UUID, ForeignKey("tenants.id")),
    Column("count", Integer, nullable=False),
    Column("seconds", Integer, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("name IN ('signin', 'tenant', 'claim', 'api')", name="name"),
    CheckConstraint("count >= 0 AND seconds >= 1", name="range"),
    Index("rate_overrides_key", "name", "tenant_id", unique=True, postgresql_nulls_not_distinct=True),
)
