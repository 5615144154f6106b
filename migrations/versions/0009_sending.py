"""Mail going out: attempts, their recipients, hops and tries; suppressions; a mailbox's counters."""

from alembic import op

revision = "0009"
down_revision = "0008"

_TABLES = """
CREATE TABLE send_attempts (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    mailbox_id UUID NOT NULL,
    lease_id UUID NOT NULL,
    actor TEXT NOT NULL,
    message_id UUID NOT NULL,
    header_message_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    state TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    send_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT send_attempts_pkey PRIMARY KEY (id),
    CONSTRAINT send_attempts_state_check
        CHECK (state IN ('queued', 'sending', 'sent', 'deferred', 'failed', 'cancelled')),
    CONSTRAINT send_attempts_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT send_attempts_mailbox_id_fkey FOREIGN KEY(mailbox_id) REFERENCES mailboxes (id),
    CONSTRAINT send_attempts_lease_id_fkey FOREIGN KEY(lease_id) REFERENCES leases (id)
);
CREATE INDEX send_attempts_tenant_id_id_idx ON send_attempts (tenant_id, id);
CREATE INDEX send_attempts_mailbox_id_id_idx ON send_attempts (mailbox_id, id);

CREATE TABLE send_recipients (
    attempt_id UUID NOT NULL,
    position SMALLINT NOT NULL,
    address TEXT NOT NULL,
    kind TEXT NOT NULL,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    reply_code SMALLINT,
    reply_text TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    told TEXT,
    CONSTRAINT send_recipients_pkey PRIMARY KEY (attempt_id, position),
    CONSTRAINT send_recipients_kind_check CHECK (kind IN ('to', 'cc', 'bcc')),
    CONSTRAINT send_recipients_state_check
        CHECK (state IN ('queued', 'sent', 'delivered', 'deferred', 'failed', 'bounced', 'cancelled')),
    CONSTRAINT send_recipients_attempt_id_fkey FOREIGN KEY(attempt_id) REFERENCES send_attempts (id) ON DELETE CASCADE
);

CREATE TABLE send_hops (
    attempt_id UUID NOT NULL,
    destination TEXT NOT NULL,
    route TEXT NOT NULL,
    state TEXT NOT NULL,
    tries SMALLINT NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE NOT NULL,
    claim UUID,
    claimed_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT send_hops_pkey PRIMARY KEY (attempt_id, destination),
    CONSTRAINT send_hops_route_check CHECK (route IN ('local', 'smtp')),
    CONSTRAINT send_hops_state_check CHECK (state IN ('waiting', 'claimed', 'handing_over', 'done')),
    CONSTRAINT send_hops_attempt_id_fkey FOREIGN KEY(attempt_id) REFERENCES send_attempts (id) ON DELETE CASCADE
);
CREATE INDEX send_hops_due_idx ON send_hops (next_try_at) WHERE state = 'waiting';
CREATE INDEX send_hops_claimed_idx ON send_hops (claimed_until) WHERE state IN ('claimed', 'handing_over');
CREATE INDEX send_hops_destination_idx ON send_hops (destination, next_try_at) WHERE state <> 'done';

CREATE TABLE send_tries (
    attempt_id UUID NOT NULL,
    destination TEXT NOT NULL,
    number SMALLINT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    remote TEXT,
    outcome TEXT NOT NULL,
    replies JSONB NOT NULL,
    CONSTRAINT send_tries_pkey PRIMARY KEY (attempt_id, destination, number),
    CONSTRAINT send_tries_attempt_id_fkey FOREIGN KEY(attempt_id, destination)
        REFERENCES send_hops (attempt_id, destination) ON DELETE CASCADE
);

CREATE TABLE outgoing_contents (
    attempt_id UUID NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT outgoing_contents_pkey PRIMARY KEY (attempt_id),
    CONSTRAINT outgoing_contents_attempt_id_fkey FOREIGN KEY(attempt_id)
        REFERENCES send_attempts (id) ON DELETE CASCADE
);

CREATE TABLE suppressions (
    tenant_id UUID NOT NULL,
    address TEXT NOT NULL,
    id UUID NOT NULL,
    reason TEXT NOT NULL,
    attempt_id UUID,
    detail TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT suppressions_pkey PRIMARY KEY (tenant_id, address),
    CONSTRAINT suppressions_reason_check CHECK (reason IN ('hard_bounce', 'complaint', 'manual')),
    CONSTRAINT suppressions_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX suppressions_tenant_id_id_idx ON suppressions (tenant_id, id);

CREATE TABLE mailbox_sends (
    mailbox_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    daily_send_limit INTEGER,
    day DATE NOT NULL,
    sends_today INTEGER NOT NULL,
    total_sent BIGINT NOT NULL,
    bounce_count BIGINT NOT NULL,
    complaint_count BIGINT NOT NULL,
    CONSTRAINT mailbox_sends_pkey PRIMARY KEY (mailbox_id),
    CONSTRAINT mailbox_sends_daily_send_limit_check CHECK (daily_send_limit >= 0),
    CONSTRAINT mailbox_sends_counted_check
        CHECK (sends_today >= 0 AND total_sent >= 0 AND bounce_count >= 0 AND complaint_count >= 0),
    CONSTRAINT mailbox_sends_mailbox_id_fkey FOREIGN KEY(mailbox_id) REFERENCES mailboxes (id),
    CONSTRAINT mailbox_sends_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
"""
# As with `mails`: read whole, hardly to be compressed.
_PURPOSE = """
ALTER TABLE mails ADD COLUMN purpose TEXT DEFAULT 'lease' NOT NULL;
ALTER TABLE mails ADD COLUMN concerns TEXT[];
ALTER TABLE mails ADD CONSTRAINT mails_purpose_check
    CHECK (purpose IN ('lease', 'return_path', 'complaint', 'house'));
CREATE INDEX mails_house_idx ON mails (id) WHERE purpose IN ('complaint', 'house');
"""
_STORAGE = "ALTER TABLE outgoing_contents ALTER COLUMN content SET STORAGE EXTERNAL"


def upgrade() -> None:
    for statement in (_TABLES + _PURPOSE).split(";"):
        if statement.strip():
            op.execute(statement)
    op.execute(_STORAGE)
