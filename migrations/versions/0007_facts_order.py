"""The order in which facts became visible; the life of leases as facts."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    """
CREATE TABLE fact_positions (
    position BIGINT NOT NULL,
    fact_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    CONSTRAINT fact_positions_pkey PRIMARY KEY (position),
    CONSTRAINT fact_positions_fact_id_key UNIQUE (fact_id)
)""",
    "CREATE INDEX fact_positions_tenant_id_position_idx ON fact_positions (tenant_id, position)",
    """
CREATE TABLE fact_sequence (
    one SMALLINT NOT NULL,
    next_position BIGINT NOT NULL,
    seen TEXT NOT NULL,
    CONSTRAINT fact_sequence_pkey PRIMARY KEY (one),
    CONSTRAINT fact_sequence_one_check CHECK (one = 1)
)""",
    # One statement, so that what is numbered is exactly what its snapshot sees, while others go on writing.
    """
WITH numbered AS (
    INSERT INTO fact_positions (position, fact_id, tenant_id)
    SELECT row_number() OVER (ORDER BY at, xid, id), id, tenant_id FROM facts
    RETURNING position
)
INSERT INTO fact_sequence (one, next_position, seen)
SELECT 1, count(*) + 1, pg_current_snapshot()::text FROM numbered""",
    "ALTER TABLE leases ADD COLUMN tell_at TIMESTAMP WITH TIME ZONE",
    """
UPDATE leases SET tell_at = expires_at - least((expires_at - started_at) / 10, interval '5 minutes')
WHERE state <> 'released' AND expires_at > now()""",
    "CREATE INDEX leases_tell_at_idx ON leases (tell_at) WHERE tell_at IS NOT NULL",
    """
CREATE TABLE low_balances (
    tenant_id UUID NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT low_balances_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT low_balances_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)""",
    """
CREATE TRIGGER fact_positions_append_only BEFORE UPDATE OR DELETE ON fact_positions
    FOR EACH ROW EXECUTE FUNCTION refuse_change()""",
    """
CREATE TRIGGER fact_positions_no_truncate BEFORE TRUNCATE ON fact_positions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
)
# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0007_number_facts.sql").read_text().split("-- verb: ")[1:]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
    for verb in _VERBS:
        op.execute(f"-- {verb}")
