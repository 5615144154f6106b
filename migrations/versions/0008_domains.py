"""Domains of tenants' own, and the keys that mail is signed with."""

from alembic import op

revision = "0008"
down_revision = "0007"

_TABLES = """
CREATE TABLE domains (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    token TEXT NOT NULL,
    found JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE,
    verified_at TIMESTAMP WITH TIME ZONE,
    missing_since TIMESTAMP WITH TIME ZONE,
    misses INTEGER NOT NULL,
    CONSTRAINT domains_pkey PRIMARY KEY (id),
    CONSTRAINT domains_tenant_id_name_key UNIQUE (tenant_id, name),
    CONSTRAINT domains_state_check CHECK (state IN ('pending', 'verified')),
    CONSTRAINT domains_reason_check CHECK (reason IN ('ownership_lost', 'by_operator')),
    CONSTRAINT domains_misses_check CHECK (misses >= 0),
    CONSTRAINT domains_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
CREATE UNIQUE INDEX domains_verified_name_idx ON domains (name) WHERE state = 'verified';
CREATE INDEX domains_name_idx ON domains (name);
CREATE INDEX domains_tenant_id_id_idx ON domains (tenant_id, id);

CREATE TABLE own_domains (
    name TEXT NOT NULL,
    found JSONB NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT own_domains_pkey PRIMARY KEY (name)
);

CREATE TABLE dkim_keys (
    domain TEXT NOT NULL,
    selector TEXT NOT NULL,
    domain_id UUID,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL,
    kid TEXT NOT NULL,
    sealed BYTEA,
    public_key TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT dkim_keys_pkey PRIMARY KEY (domain, selector),
    CONSTRAINT dkim_keys_algorithm_check CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256')),
    CONSTRAINT dkim_keys_state_check CHECK (state IN ('signing', 'waiting', 'retired')),
    CONSTRAINT dkim_keys_retired_check CHECK ((state = 'retired') = (retired_at IS NOT NULL)),
    CONSTRAINT dkim_keys_sealed_check CHECK ((state = 'retired') = (sealed IS NULL)),
    CONSTRAINT dkim_keys_domain_id_fkey FOREIGN KEY(domain_id) REFERENCES domains (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX dkim_keys_of_domain_idx ON dkim_keys (domain_id, algorithm, state)
    WHERE domain_id IS NOT NULL AND state <> 'retired';
CREATE UNIQUE INDEX dkim_keys_own_idx ON dkim_keys (domain, algorithm, state)
    WHERE domain_id IS NULL AND state <> 'retired';

CREATE INDEX mailboxes_domain_idx ON mailboxes (domain);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
