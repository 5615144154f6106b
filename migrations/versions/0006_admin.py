"""Administering: sessions, denied domains, rates in force; indexes for what admins ask."""

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = (
    """
CREATE TABLE admin_sessions (
    id UUID NOT NULL,
    token_hash BYTEA NOT NULL,
    wallet_address TEXT NOT NULL,
    chain_id BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT admin_sessions_pkey PRIMARY KEY (id),
    CONSTRAINT admin_sessions_token_hash_key UNIQUE (token_hash)
)""",
    "CREATE INDEX admin_sessions_expires_at_idx ON admin_sessions (expires_at)",
    """
CREATE TABLE denied_domains (
    direction TEXT NOT NULL,
    domain TEXT NOT NULL,
    note TEXT NOT NULL,
    made_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT denied_domains_pkey PRIMARY KEY (direction, domain),
    CONSTRAINT denied_domains_direction_check CHECK (direction IN ('sender', 'recipient'))
)""",
    """
CREATE TABLE rate_overrides (
    name TEXT NOT NULL,
    tenant_id UUID,
    count INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT rate_overrides_name_check CHECK (name IN ('signin', 'tenant', 'claim', 'api')),
    CONSTRAINT rate_overrides_range_check CHECK (count >= 0 AND seconds >= 1),
    CONSTRAINT rate_overrides_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)""",
    "CREATE UNIQUE INDEX rate_overrides_key ON rate_overrides (name, tenant_id) NULLS NOT DISTINCT",
    "CREATE INDEX audit_rows_actor_id_idx ON audit_rows (actor, id)",
    "CREATE INDEX audit_rows_resource_id_idx ON audit_rows (resource, id)",
    "CREATE INDEX facts_denied_idx ON facts (id) WHERE type = 'usage.denied'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
