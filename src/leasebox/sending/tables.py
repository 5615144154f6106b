"""Tables of sending.

A send attempt is one outbound message. It is delivered hop by hop: a hop is all its recipients of one domain, sent in
one SMTP transaction. What became of each recipient stands with the recipient; the attempt's state follows from them.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    event,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from leasebox.infra.db import UNCOMPRESSED_CONTENT, metadata

# One row a tenant that has sent without a wallet: a moment for each recipient of the last 24 hours, in rising order.
cooldowns = Table(
    "cooldowns",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("sent_at", ARRAY(DateTime(timezone=True)), nullable=False),
    # As in model.LIMIT: should the statement ever err, the row itself holds.
    CheckConstraint("cardinality(sent_at) BETWEEN 1 AND 10", name="limit"),
)

send_attempts = Table(
    "send_attempts",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    Column("mailbox_id", UUID, ForeignKey("mailboxes.id"), nullable=False),
    Column("lease_id", UUID, ForeignKey("leases.id"), nullable=False),
    # Who sent it, as in the audit log.
    Column("actor", Text, nullable=False),
    # The message in the sender's mailbox; it may be erased before the attempt ends.
    Column("message_id", UUID, nullable=False),
    Column("header_message_id", Text, nullable=False),
    # The leased address, of which the domain signs and takes the bounces.
    Column("sender", Text, nullable=False),
    # Derived from its recipients by `service.settle`, in the transaction that changed one of them.
    Column("state", Text, nullable=False),
    # Of the whole message, header included.
    Column("size_bytes", Integer, nullable=False),
    # Not handed over before this moment.
    Column("send_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # When the first of its recipients was taken over by another server, or had it in the mailbox.
    Column("sent_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    # Null as long as its lease's mail is kept; then when the attempt goes too, once it is finished.
    Column("forget_at", DateTime(timezone=True)),
    # When somebody complained first of whom is not known which recipient it was.
    Column("complained_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('queued', 'sending', 'sent', 'deferred', 'failed', 'cancelled')", name="state"),
    Index(None, "tenant_id", "id"),
    Index(None, "mailbox_id", "id"),
    Index(None, "lease_id"),
    Index(None, "forget_at", postgresql_where="forget_at IS NOT NULL"),
)

send_recipients = Table(
    "send_recipients",
    metadata,
    Column("attempt_id", UUID, ForeignKey("send_attempts.id", ondelete="CASCADE"), primary_key=True),
    # From 0, in the order of the envelope; a return path may name it.
    Column("position", SmallInteger, primary_key=True),
    Column("address", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # The domain as DNS knows it: lower case, A-labels.
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reply_code", SmallInteger),
    Column("reply_text", Text),
    # When it came into its state.
    Column("at", DateTime(timezone=True), nullable=False),
    # The state that was last told of as a fact; `service.settle` tells what differs from it.
    Column("told", Text),
    # When this recipient complained first; whoever does so again is not counted again.
    Column("complained_at", DateTime(timezone=True)),
    CheckConstraint("kind IN ('to', 'cc', 'bcc')", name="kind"),
    CheckConstraint(
        "state IN ('queued', 'sent', 'delivered', 'deferred', 'failed', 'bounced', 'cancelled')", name="state"
    ),
)

# The unit of delivery. waiting → claimed → handing_over → waiting or done; `handing_over` begins before the first octet
# of the message's end may have been read by the other side, so from then on a death leaves doubt.
send_hops = Table(
    "send_hops",
    metadata,
    Column("attempt_id", UUID, ForeignKey("send_attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("destination", Text, primary_key=True),
    # local: a domain of this instance, handed in without the network; smtp: by relay or MX.
    Column("route", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("next_try_at", DateTime(timezone=True), nullable=False),
    Column("claim", UUID),
    Column("claimed_until", DateTime(timezone=True)),
    CheckConstraint("route IN ('local', 'smtp')", name="route"),
    CheckConstraint("state IN ('waiting', 'claimed', 'handing_over', 'done')", name="state"),
    Index("send_hops_due_idx", "next_try_at", postgresql_where="state = 'waiting'"),
    Index("send_hops_claimed_idx", "claimed_until", postgresql_where="state IN ('claimed', 'handing_over')"),
    Index("send_hops_destination_idx", "destination", "next_try_at", postgresql_where="state <> 'done'"),
)

# Each conversation with another server, with all that it said.
send_tries = Table(
    "send_tries",
    metadata,
    Column("attempt_id", UUID, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    # Host and address that was spoken to; null where none answered.
    Column("remote", Text),
    # `unknown` where a worker died between the end of the message and the reply to it.
    Column("outcome", Text, nullable=False),
    # A list of command, code and text.
    Column("replies", JSONB, nullable=False),
    ForeignKeyConstraint(
        ["attempt_id", "destination"], ["send_hops.attempt_id", "send_hops.destination"], ondelete="CASCADE"
    ),
)

# The message as it goes out, blind copies not named; dropped when its attempt is over, whatever becomes of the
# sender's mailbox meanwhile.
outgoing_contents = Table(
    "outgoing_contents",
    metadata,
    Column("attempt_id", UUID, ForeignKey("send_attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
event.listen(outgoing_contents, "after_create", UNCOMPRESSED_CONTENT)

# Addresses that a tenant's mail is not sent to any more.
suppressions = Table(
    "suppressions",
    metadata,
    Column("tenant_id", UUID, ForeignKey("tenants.id"), primary_key=True),
    Column("address", Text, primary_key=True),
    # In the order of being made, for lists.
    Column("id", UUID, nullable=False),
    Column("reason", Text, nullable=False),
    # The attempt whose bounce or complaint it was.
    Column("attempt_id", UUID),
    Column("detail", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("reason IN ('hard_bounce', 'complaint', 'manual')", name="reason"),
    Index(None, "tenant_id", "id"),
)

# A mailbox's counters: no row until its first message, limit or bounce.
mailbox_sends = Table(
    "mailbox_sends",
    metadata,
    Column("mailbox_id", UUID, ForeignKey("mailboxes.id"), primary_key=True),
    Column("tenant_id", UUID, ForeignKey("tenants.id"), nullable=False),
    # Recipients a UTC day; null: the instance's own limit.
    Column("daily_send_limit", Integer),
    # The UTC day that `sends_today` counts.
    Column("day", Date, nullable=False),
    Column("sends_today", Integer, nullable=False),
    Column("total_sent", BigInteger, nullable=False),
    Column("bounce_count", BigInteger, nullable=False),
    Column("complaint_count", BigInteger, nullable=False),
    CheckConstraint("daily_send_limit >= 0", name="daily_send_limit"),
    CheckConstraint(
        "sends_today >= 0 AND total_sent >= 0 AND bounce_count >= 0 AND complaint_count >= 0", name="counted"
    ),
)
