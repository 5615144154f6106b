"""Threads and the new part of a reply."""

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLES = """
ALTER TABLE mail_bodies ADD COLUMN extracted_text TEXT;
ALTER TABLE messages ADD COLUMN subject_key BIGINT;
CREATE INDEX messages_thread_id_id_idx ON messages (thread_id, id);
CREATE INDEX messages_subject_idx ON messages (lease_id, subject_key, id) WHERE subject_key IS NOT NULL;
CREATE TABLE thread_references (
    lease_id UUID NOT NULL,
    reference BYTEA NOT NULL,
    thread_id UUID NOT NULL,
    CONSTRAINT thread_references_pkey PRIMARY KEY (lease_id, reference),
    CONSTRAINT thread_references_lease_id_fkey FOREIGN KEY(lease_id) REFERENCES leases (id)
);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
