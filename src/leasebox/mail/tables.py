"""Tables of mail coming in.

A mail is stored once, as received; `accepted_for` names the leases it was accepted for. The parser makes a message for
each of them, complete: a message that exists is visible. `seq` numbers a mailbox's messages in the order of commits.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR, UUID

from leasebox.infra.db import UNCOMPRESSED_CONTENT, metadata

mails = Table(
    "mails",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("helo", Text, nullable=False),
    Column("client_address", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("trace", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    # [{message_id, lease_id, mailbox_id, tenant_id}], decided when the mail was accepted.
    Column("accepted_for", JSONB, nullable=False),
    # pending → done; a parser holds a pending one until `claimed_until`, so that its death only delays the mail.
    Column("state", Text, nullable=False),
    Column("claim", UUID),
    Column("claimed_until", DateTime(timezone=True)),
    Column("tries", SmallInteger, nullable=False),
    # Whom a mail is for: its leases, or the house: what came back to a return path of ours, complaints, role addresses.
    Column("purpose", Text, nullable=False, server_default=text("'lease'")),
    # What mail for the house is about: send attempts that it came back to, or the addresses of ours it was sent to.
    Column("concerns", ARRAY(Text)),
    CheckConstraint("state IN ('pending', 'done')", name="state"),
    CheckConstraint("purpose IN ('lease', 'return_path', 'complaint', 'house')", name="purpose"),
    Index("mails_pending_idx", "id", postgresql_where="state = 'pending'"),
    Index("mails_house_idx", "id", postgresql_where="purpose IN ('complaint', 'house')"),
)
# Not compressed: pglz takes 20 µs of a mail of 4 KB and 1.6 ms of one of 100 KB, more than all else about taking it;
# and mail is kept for days, not for years.
event.listen(mails, "after_create", UNCOMPRESSED_CONTENT)

mail_bodies = Table(
    "mail_bodies",
    metadata,
    Column("mail_id", UUID, ForeignKey("mails.id", ondelete="CASCADE"), primary_key=True),
    Column("headers", JSONB, nullable=False),
    Column("cc", JSONB, nullable=False),
    Column("reply_to", JSONB, nullable=False),
    Column("body_text", Text, nullable=False),
    Column("body_html", Text),
    Column("attachments", JSONB, nullable=False),
    Column("extraction", JSONB, nullable=False),
    Column("defects", ARRAY(Text), nullable=False),
    # The new part of a reply; NULL where all of the text is new.
    Column("extracted_text", Text),
)

messages = Table(
    "messages",
    metadata,
    Column("id", UUID, nullable=False),
    Column("tenant_id", UUID, nullable=False),
    Column("mailbox_id", UUID, nullable=False),
    Column("lease_id", UUID, ForeignKey("leases.id"), nullable=False),
    Column("mail_id", UUID, ForeignKey("mails.id"), nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("direction", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("parsed_status", Text, nullable=False),
    Column("thread_id", UUID, nullable=False),
    Column("header_message_id", Text),
    Column("sender", Text, nullable=False),
    Column("sender_name", Text, nullable=False),
    Column("sender_domain", Text, nullable=False),
    Column("recipients", JSONB, nullable=False),
    Column("subject", Text, nullable=False),
    Column("preview", Text, nullable=False),
    Column("otp_code", Text),
    Column("verification_link", Text),
    Column("has_attachments", Boolean, nullable=False),
    Column("labels", ARRAY(Text), nullable=False),
    Column("auth", JSONB, nullable=False),
    # A hash of the subject without "Re:" and the like; NULL where nothing is left of it.
    Column("subject_key", BigInteger),
    CheckConstraint("parsed_status IN ('parsed', 'none', 'failed')", name="parsed_status"),
    CheckConstraint("direction IN ('inbound', 'outbound')", name="direction"),
    # No index has the ids of all tenants in a row: asked for a tenant's newest, the planner would go through
    # everybody's as soon as it holds a good share of them, however long ago that was.
    PrimaryKeyConstraint("tenant_id", "id"),
    Index(None, "mailbox_id", "id"),
    Index(None, "mail_id"),
    Index(None, "lease_id", "header_message_id"),
    Index(None, "thread_id", "id"),
    Index("messages_subject_idx", "lease_id", "subject_key", "id", postgresql_where="subject_key IS NOT NULL"),
    Index("messages_mailbox_id_seq_key", "mailbox_id", "seq", unique=True),
    # What few messages are, found without looking at the others of a tenant.
    Index("messages_unread_idx", "tenant_id", "id", postgresql_where="'unread' = ANY (labels)"),
    Index(
        "messages_labelled_idx",
        "tenant_id",
        "id",
        postgresql_where="NOT labels <@ ARRAY['received', 'sent', 'unread']",
    ),
    Index("messages_outbound_idx", "tenant_id", "id", postgresql_where="direction = 'outbound'"),
)

# The words of a message. Apart from it for two reasons: behind the wall (row-level security) PostgreSQL does not use an
# index whose operator might tell what it sees, as that of text search might; and marking a message read need not write
# its words to the index again. So it stands outside: whoever finds a message here reads it in `messages`, behind it.
message_search = Table(
    "message_search",
    metadata,
    Column("tenant_id", UUID, primary_key=True),
    Column("message_id", UUID, primary_key=True),
    Column("search", TSVECTOR, nullable=False),
    ForeignKeyConstraint(["tenant_id", "message_id"], ["messages.tenant_id", "messages.id"], ondelete="CASCADE"),
    Index("message_search_idx", "search", postgresql_using="gin"),
)

# What the mails of a lease refer to (hashes of message ids), so that a mail that comes after its answer, or two answers
# to a mail that never came here, still meet in one thread.
thread_references = Table(
    "thread_references",
    metadata,
    Column("lease_id", UUID, ForeignKey("leases.id"), primary_key=True),
    Column("reference", LargeBinary, primary_key=True),
    Column("thread_id", UUID, nullable=False),
)

# Domains, and all below them, that mail is not taken from (sender) or not sent to (recipient).
denied_domains = Table(
    "denied_domains",
    metadata,
    Column("direction", Text, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("note", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("direction IN ('sender', 'recipient')", name="direction"),
)
