"""What stays quick when tables grow: messages by tenant, their words apart, labels and live leases by index.

Send attempts are forgotten some time. Messages are not partitioned; why, `mail/jobs.py` says.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

_TABLES = """
ALTER TABLE messages DROP CONSTRAINT messages_pkey;
ALTER TABLE messages ADD CONSTRAINT messages_pkey PRIMARY KEY (tenant_id, id);
DROP INDEX messages_tenant_id_id_idx;
CREATE TABLE message_search (
    tenant_id UUID NOT NULL,
    message_id UUID NOT NULL,
    search TSVECTOR NOT NULL,
    CONSTRAINT message_search_pkey PRIMARY KEY (tenant_id, message_id)
);
INSERT INTO message_search (tenant_id, message_id, search) SELECT tenant_id, id, search FROM messages;
ALTER TABLE message_search ADD CONSTRAINT message_search_tenant_id_fkey
    FOREIGN KEY(tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX message_search_idx ON message_search USING gin (search);
ALTER TABLE messages DROP COLUMN search;
CREATE INDEX messages_unread_idx ON messages (tenant_id, id) WHERE 'unread' = ANY (labels);
CREATE INDEX messages_labelled_idx ON messages (tenant_id, id)
    WHERE NOT labels <@ ARRAY['received', 'sent', 'unread'];
CREATE INDEX messages_outbound_idx ON messages (tenant_id, id) WHERE direction = 'outbound';
CREATE INDEX leases_tenant_id_agent_id_id_idx ON leases (tenant_id, agent_id, id);
CREATE INDEX leases_unpurged_of_tenant_idx ON leases (tenant_id, expires_at) WHERE purged_at IS NULL;
ALTER TABLE send_attempts ADD COLUMN forget_at TIMESTAMP WITH TIME ZONE;
UPDATE send_attempts a SET forget_at = a.expires_at + interval '5 days'
    FROM leases l WHERE l.id = a.lease_id AND l.purged_at IS NOT NULL;
CREATE INDEX send_attempts_lease_id_idx ON send_attempts (lease_id);
CREATE INDEX send_attempts_forget_at_idx ON send_attempts (forget_at) WHERE forget_at IS NOT NULL
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
