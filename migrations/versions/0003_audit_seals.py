"""Seals over the audit log and the facts: transaction ids to read by, leaf numbers, signed heads; all append-only."""

from alembic import op

revision = "0003"
down_revision = "0002"

# Rows that stand already all get this migration's own transaction id: they are sealed in the order of their ids.
_STATEMENTS = (
    "ALTER TABLE audit_rows ADD COLUMN xid xid8 DEFAULT pg_current_xact_id() NOT NULL",
    "CREATE INDEX audit_rows_xid_id_idx ON audit_rows (xid, id)",
    "CREATE INDEX facts_xid_id_idx ON facts (xid, id)",
    """
CREATE TABLE seal_leaves (
    log TEXT NOT NULL,
    leaf BIGINT NOT NULL,
    row_id UUID NOT NULL,
    nodes BYTEA NOT NULL,
    CONSTRAINT seal_leaves_pkey PRIMARY KEY (log, leaf)
)""",
    "CREATE UNIQUE INDEX seal_leaves_log_row_id_idx ON seal_leaves (log, row_id)",
    """
CREATE TABLE seal_heads (
    log TEXT NOT NULL,
    number BIGINT NOT NULL,
    size BIGINT NOT NULL,
    note TEXT NOT NULL,
    CONSTRAINT seal_heads_pkey PRIMARY KEY (log, number)
)""",
)
_APPEND_ONLY = (
    "CREATE TRIGGER {0}_append_only BEFORE UPDATE OR DELETE ON {0} FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER {0}_no_truncate BEFORE TRUNCATE ON {0} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
    for table in ("facts", "seal_leaves", "seal_heads"):
        for statement in _APPEND_ONLY:
            op.execute(statement.format(table))
