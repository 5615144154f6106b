"""Claims: mailboxes for whoever has no wallet yet; the cooldown of what such tenants send."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = """
CREATE TABLE claims (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    domain TEXT NOT NULL,
    asked_from TEXT NOT NULL,
    token_hash BYTEA NOT NULL,
    link_hash BYTEA NOT NULL,
    key_hash BYTEA NOT NULL,
    key_hint TEXT NOT NULL,
    sealed_key BYTEA,
    state TEXT NOT NULL,
    reason TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    lease_id UUID,
    CONSTRAINT claims_pkey PRIMARY KEY (id),
    CONSTRAINT claims_state_check CHECK (state IN ('pending', 'approved', 'declined')),
    CONSTRAINT claims_reason_check CHECK (reason IN ('by_person', 'address_taken')),
    CONSTRAINT claims_link_hash_key UNIQUE (link_hash),
    CONSTRAINT claims_lease_id_fkey FOREIGN KEY(lease_id) REFERENCES leases (id)
);
CREATE INDEX claims_expires_at_idx ON claims (expires_at);

CREATE TABLE cooldowns (
    tenant_id UUID NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE[] NOT NULL,
    CONSTRAINT cooldowns_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT cooldowns_limit_check CHECK (cardinality(sent_at) BETWEEN 1 AND 10),
    CONSTRAINT cooldowns_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
