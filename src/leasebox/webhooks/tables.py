"""Tables of webhooks.

`webhooks` is what a tenant says of an endpoint, `webhook_lanes` what deliveries find there: apart, because a lane is
written all the time. Whoever changes deliveries of an endpoint locks its lane first, so that nobody waits crosswise.
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from leasebox.infra.db import metadata
from leasebox.infra.reseal import KID_CHECK

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("target_url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),
    # Null: facts of all mailboxes, and those of none.
    Column("mailbox_ids", ARRAY(UUID)),
    # The mailbox whose `webhook_url` this endpoint is.
    Column("mailbox_id", UUID, ForeignKey("mailboxes.id")),
    Column("status", Text, nullable=False),
    Column("disabled_reason", Text),
    Column("disabled_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('enabled', 'disabled')", name="status"),
    CheckConstraint("disabled_reason IN ('by_caller', 'by_operator', 'gone', 'failing')", name="reason"),
    CheckConstraint(
        "(status = 'disabled') = (disabled_reason IS NOT NULL) AND (status = 'disabled') = (disabled_at IS NOT NULL)",
        name="disabled",
    ),
    Index(None, "tenant_id", "id"),
    Index("webhooks_of_mailbox_key", "mailbox_id", unique=True, postgresql_where="mailbox_id IS NOT NULL"),
)

# Sealed, because we must use them. The one without an end is the present one; those before sign along until theirs.
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("webhook_id", UUID, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kid", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    CheckConstraint(KID_CHECK, name="kid"),
    Index("webhook_secrets_present_key", "webhook_id", unique=True, postgresql_where="expires_at IS NULL"),
    Index(None, "kid"),
)

webhook_lanes = Table(
    "webhook_lanes",
    metadata,
    Column("webhook_id", UUID, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
    # Once it has passed some delivery may be due, before that none is; null when none waits. Only a claim moves it up.
    Column("due_at", DateTime(timezone=True)),
    # Nothing is tried until then: the circuit is open.
    Column("resting_until", DateTime(timezone=True)),
    # Failures since the last success: how many, when the first and the last.
    Column("failures", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True)),
    Column("failed_at", DateTime(timezone=True)),
    Column("succeeded_at", DateTime(timezone=True)),
    # How long tries take: the latest, or half of what it was before where that is more. Null before the first one.
    Column("pace_ms", Integer),
    CheckConstraint("failures >= 0", name="failures"),
    Index("webhook_lanes_due_idx", "due_at", postgresql_where="due_at IS NOT NULL"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("webhook_id", UUID, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    # The fact's id, and the webhook-id that receivers see: whatever is sent again carries it again.
    Column("event_id", UUID, nullable=False),
    Column("event_type", Text, nullable=False),
    # Only of tests, which no fact stands behind.
    Column("payload", JSONB),
    Column("state", Text, nullable=False),
    # How many tries were begun. The number of a try is also its claim: who settles another one than the last is late.
    Column("attempts", Integer, nullable=False),
    # How many tries of the schedule have failed.
    Column("step", SmallInteger, nullable=False),
    # When the next try is due; while one is under way: when its claim runs out. Null when there is nothing left to do.
    Column("next_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('pending', 'delivering', 'succeeded', 'failed', 'dead')", name="state"),
    CheckConstraint(
        "(state IN ('succeeded', 'dead')) = (next_at IS NULL) AND (next_at IS NULL) = (finished_at IS NOT NULL)",
        name="ended",
    ),
    Index("webhook_deliveries_key", "webhook_id", "event_id", unique=True),
    Index("webhook_deliveries_open_idx", "webhook_id", "next_at", postgresql_where="next_at IS NOT NULL"),
    Index(None, "tenant_id", "id"),
    Index("webhook_deliveries_dead_idx", "id", postgresql_where="state = 'dead'"),
    Index("webhook_deliveries_died_idx", "finished_at", postgresql_where="state = 'dead'"),
)

# One HTTP try each: how it ended, never what was said.
webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", UUID, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    # Null when the process that tried did not live to tell.
    Column("took_ms", Integer),
    Column("status_code", SmallInteger),
    Column("error", Text),
)

# One row: the position up to which facts have been turned into deliveries.
webhook_cursor = Table(
    "webhook_cursor",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    CheckConstraint("one = 1", name="one"),
)
