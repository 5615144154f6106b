"""Webhook endpoints and their deliveries; the two verbs between a fact and its request stand in sql/."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"

_TABLES = """
CREATE TABLE webhooks (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    target_url TEXT NOT NULL,
    event_types TEXT[] NOT NULL,
    mailbox_ids UUID[],
    mailbox_id UUID,
    status TEXT NOT NULL,
    disabled_reason TEXT,
    disabled_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT webhooks_pkey PRIMARY KEY (id),
    CONSTRAINT webhooks_status_check CHECK (status IN ('enabled', 'disabled')),
    CONSTRAINT webhooks_reason_check CHECK (disabled_reason IN ('by_caller', 'by_operator', 'gone', 'failing')),
    CONSTRAINT webhooks_disabled_check CHECK (
        (status = 'disabled') = (disabled_reason IS NOT NULL) AND (status = 'disabled') = (disabled_at IS NOT NULL)),
    CONSTRAINT webhooks_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT webhooks_mailbox_id_fkey FOREIGN KEY(mailbox_id) REFERENCES mailboxes (id)
);
CREATE INDEX webhooks_tenant_id_id_idx ON webhooks (tenant_id, id);
CREATE UNIQUE INDEX webhooks_of_mailbox_key ON webhooks (mailbox_id) WHERE mailbox_id IS NOT NULL;

CREATE TABLE webhook_secrets (
    webhook_id UUID NOT NULL,
    number INTEGER NOT NULL,
    kid TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT webhook_secrets_pkey PRIMARY KEY (webhook_id, number),
    CONSTRAINT webhook_secrets_webhook_id_fkey FOREIGN KEY(webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX webhook_secrets_present_key ON webhook_secrets (webhook_id) WHERE expires_at IS NULL;
CREATE INDEX webhook_secrets_kid_idx ON webhook_secrets (kid);

CREATE TABLE webhook_lanes (
    webhook_id UUID NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    resting_until TIMESTAMP WITH TIME ZONE,
    failures INTEGER NOT NULL,
    failing_since TIMESTAMP WITH TIME ZONE,
    failed_at TIMESTAMP WITH TIME ZONE,
    succeeded_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT webhook_lanes_pkey PRIMARY KEY (webhook_id),
    CONSTRAINT webhook_lanes_failures_check CHECK (failures >= 0),
    CONSTRAINT webhook_lanes_webhook_id_fkey FOREIGN KEY(webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
);
CREATE INDEX webhook_lanes_due_idx ON webhook_lanes (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE webhook_deliveries (
    id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    webhook_id UUID NOT NULL,
    event_id UUID NOT NULL,
    event_type TEXT NOT NULL,
    payload JSONB,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    step SMALLINT NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_deliveries_state_check CHECK (
        state IN ('pending', 'delivering', 'succeeded', 'failed', 'dead')),
    CONSTRAINT webhook_deliveries_ended_check CHECK (
        (state IN ('succeeded', 'dead')) = (next_at IS NULL) AND (next_at IS NULL) = (finished_at IS NOT NULL)),
    CONSTRAINT webhook_deliveries_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT webhook_deliveries_webhook_id_fkey FOREIGN KEY(webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX webhook_deliveries_key ON webhook_deliveries (webhook_id, event_id);
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (webhook_id, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_tenant_id_id_idx ON webhook_deliveries (tenant_id, id);
CREATE INDEX webhook_deliveries_dead_idx ON webhook_deliveries (id) WHERE state = 'dead';

CREATE TABLE webhook_attempts (
    delivery_id UUID NOT NULL,
    number INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    took_ms INTEGER,
    status_code SMALLINT,
    error TEXT,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (delivery_id, number),
    CONSTRAINT webhook_attempts_delivery_id_fkey FOREIGN KEY(delivery_id)
        REFERENCES webhook_deliveries (id) ON DELETE CASCADE
);

CREATE TABLE webhook_cursor (
    one SMALLINT NOT NULL,
    position BIGINT NOT NULL,
    CONSTRAINT webhook_cursor_pkey PRIMARY KEY (one),
    CONSTRAINT webhook_cursor_one_check CHECK (one = 1)
);
INSERT INTO webhook_cursor (one, position) SELECT 1, coalesce(max(position), 0) FROM fact_positions
"""
# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0010_webhook_verbs.sql").read_text().split("-- verb: ")[1:]


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        op.execute(statement)
    for verb in _VERBS:
        op.execute(f"-- {verb}")
