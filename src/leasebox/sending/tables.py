"""Tables of sending."""

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, ForeignKey, Table
from sqlalchemy.dialects.postgresql import UUID

from leasebox.infra.db import metadata

# One row a tenant that has sent without a wallet: a moment for each recipient of the last 24 hours, in rising order.
cooldowns = Table(
    "cooldowns",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("sent_at", ARRAY(DateTime(timezone=True)), nullable=False),
    # As in model.LIMIT: should the statement ever err, the row itself holds.
    CheckConstraint("cardinality(sent_at) BETWEEN 1 AND 10", name="limit"),
)
