"""The first tables: audit, facts, identity, leases, mail."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE audit_rows (
    id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    tenant_id UUID,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail JSONB NOT NULL,
    CONSTRAINT audit_rows_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_rows_tenant_id_id_idx ON audit_rows (tenant_id, id);

CREATE TABLE facts (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    mailbox_id UUID,
    lease_id UUID,
    type TEXT NOT NULL,
    payload JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT facts_pkey PRIMARY KEY (id)
);
CREATE INDEX facts_tenant_id_id_idx ON facts (tenant_id, id);

CREATE TABLE mails (
    id UUID NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    mail_from TEXT NOT NULL,
    helo TEXT NOT NULL,
    client_address TEXT NOT NULL,
    protocol TEXT NOT NULL,
    trace BYTEA NOT NULL,
    content BYTEA NOT NULL,
    accepted_for JSONB NOT NULL,
    state TEXT NOT NULL,
    claim UUID,
    claimed_until TIMESTAMP WITH TIME ZONE,
    tries SMALLINT NOT NULL,
    CONSTRAINT mails_pkey PRIMARY KEY (id),
    CONSTRAINT mails_state_check CHECK (state IN ('pending', 'done'))
);
CREATE INDEX mails_pending_idx ON mails (id) WHERE state = 'pending';

CREATE TABLE tenants (
    id UUID NOT NULL,
    status TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended', 'closed'))
);

CREATE TABLE agents (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    wallet_address TEXT,
    status TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT agents_pkey PRIMARY KEY (id),
    CONSTRAINT agents_status_check CHECK (status IN ('active', 'disabled')),
    CONSTRAINT agents_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX agents_tenant_id_id_idx ON agents (tenant_id, id);
CREATE UNIQUE INDEX agents_wallet_address_key ON agents (tenant_id, wallet_address);

CREATE TABLE mail_bodies (
    mail_id UUID NOT NULL,
    headers JSONB NOT NULL,
    cc JSONB NOT NULL,
    reply_to JSONB NOT NULL,
    body_text TEXT NOT NULL,
    body_html TEXT,
    attachments JSONB NOT NULL,
    extraction JSONB NOT NULL,
    defects TEXT[] NOT NULL,
    CONSTRAINT mail_bodies_pkey PRIMARY KEY (mail_id),
    CONSTRAINT mail_bodies_mail_id_fkey FOREIGN KEY(mail_id) REFERENCES mails (id) ON DELETE CASCADE
);

CREATE TABLE mailboxes (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    origin TEXT NOT NULL,
    display_name TEXT,
    metadata JSONB NOT NULL,
    uid_validity BIGINT NOT NULL,
    next_uid BIGINT NOT NULL,
    next_seq BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    erased_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT mailboxes_pkey PRIMARY KEY (id),
    CONSTRAINT mailboxes_origin_check CHECK (origin IN ('generated', 'chosen')),
    CONSTRAINT mailboxes_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX mailboxes_tenant_id_id_idx ON mailboxes (tenant_id, id);

CREATE TABLE wallets (
    address TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    chain_id BIGINT NOT NULL,
    bound_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT wallets_pkey PRIMARY KEY (address),
    CONSTRAINT wallets_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE INDEX wallets_tenant_id_idx ON wallets (tenant_id);

CREATE TABLE api_keys (
    id UUID NOT NULL,
    token_hash BYTEA NOT NULL,
    hint TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    agent_id UUID,
    name TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    mailbox_ids UUID[],
    made_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_token_hash_key UNIQUE (token_hash),
    CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT api_keys_agent_id_fkey FOREIGN KEY(agent_id) REFERENCES agents (id)
);
CREATE INDEX api_keys_tenant_id_id_idx ON api_keys (tenant_id, id);

CREATE TABLE leases (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    mailbox_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    metadata JSONB NOT NULL,
    state TEXT NOT NULL,
    frozen_at TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    released_at TIMESTAMP WITH TIME ZONE,
    password_hash TEXT NOT NULL,
    password_set_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_bytes BIGINT NOT NULL,
    used_messages INTEGER NOT NULL,
    purged_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT leases_pkey PRIMARY KEY (id),
    CONSTRAINT leases_state_check CHECK (state IN ('active', 'paused', 'released')),
    CONSTRAINT leases_used_check CHECK (used_bytes >= 0 AND used_messages >= 0),
    CONSTRAINT leases_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT leases_mailbox_id_fkey FOREIGN KEY(mailbox_id) REFERENCES mailboxes (id),
    CONSTRAINT leases_agent_id_fkey FOREIGN KEY(agent_id) REFERENCES agents (id)
);
CREATE INDEX leases_mailbox_id_id_idx ON leases (mailbox_id, id);
CREATE INDEX leases_tenant_id_id_idx ON leases (tenant_id, id);
CREATE INDEX leases_unpurged_idx ON leases (expires_at) WHERE purged_at IS NULL;

CREATE TABLE sessions (
    id UUID NOT NULL,
    token_hash BYTEA NOT NULL,
    tenant_id UUID NOT NULL,
    agent_id UUID NOT NULL,
    wallet_address TEXT NOT NULL,
    chain_id BIGINT NOT NULL,
    scopes TEXT[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_token_hash_key UNIQUE (token_hash),
    CONSTRAINT sessions_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT sessions_agent_id_fkey FOREIGN KEY(agent_id) REFERENCES agents (id)
);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
CREATE INDEX sessions_tenant_id_wallet_address_idx ON sessions (tenant_id, wallet_address);

CREATE TABLE addresses (
    address TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    mailbox_id UUID NOT NULL,
    lease_id UUID NOT NULL,
    origin TEXT NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT addresses_pkey PRIMARY KEY (address),
    CONSTRAINT addresses_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT addresses_mailbox_id_fkey FOREIGN KEY(mailbox_id) REFERENCES mailboxes (id),
    CONSTRAINT addresses_lease_id_fkey FOREIGN KEY(lease_id) REFERENCES leases (id)
);
CREATE INDEX addresses_lease_id_idx ON addresses (lease_id);

CREATE TABLE messages (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    mailbox_id UUID NOT NULL,
    lease_id UUID NOT NULL,
    mail_id UUID NOT NULL,
    uid BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    direction TEXT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    size_bytes INTEGER NOT NULL,
    parsed_status TEXT NOT NULL,
    thread_id UUID NOT NULL,
    header_message_id TEXT,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipients JSONB NOT NULL,
    subject TEXT NOT NULL,
    preview TEXT NOT NULL,
    otp_code TEXT,
    verification_link TEXT,
    has_attachments BOOLEAN NOT NULL,
    labels TEXT[] NOT NULL,
    auth JSONB NOT NULL,
    search TSVECTOR NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (id),
    CONSTRAINT messages_parsed_status_check CHECK (parsed_status IN ('parsed', 'none', 'failed')),
    CONSTRAINT messages_direction_check CHECK (direction IN ('inbound', 'outbound')),
    CONSTRAINT messages_lease_id_fkey FOREIGN KEY(lease_id) REFERENCES leases (id),
    CONSTRAINT messages_mail_id_fkey FOREIGN KEY(mail_id) REFERENCES mails (id)
);
CREATE INDEX messages_lease_id_header_message_id_idx ON messages (lease_id, header_message_id);
CREATE INDEX messages_mail_id_idx ON messages (mail_id);
CREATE INDEX messages_mailbox_id_id_idx ON messages (mailbox_id, id);
CREATE UNIQUE INDEX messages_mailbox_id_seq_key ON messages (mailbox_id, seq);
CREATE INDEX messages_search_idx ON messages USING gin (search);
CREATE INDEX messages_tenant_id_id_idx ON messages (tenant_id, id);

"""
# The log only grows: whoever may write it, even this program, can neither change nor remove a row.
_APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_rows_append_only BEFORE UPDATE OR DELETE ON audit_rows
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_rows_no_truncate BEFORE TRUNCATE ON audit_rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
# Mail hardly compresses further and is read whole: storing it plain saves the processor.
_STORAGE = "ALTER TABLE mails ALTER COLUMN content SET STORAGE EXTERNAL"


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
    for statement in _APPEND_ONLY.split(";\nCREATE TRIGGER"):
        op.execute(statement if "FUNCTION refuse_change() RETURNS" in statement else f"CREATE TRIGGER{statement}")
    op.execute(_STORAGE)
