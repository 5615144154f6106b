"""Webhooks share places among tenants, and remember how long an endpoint's tries take; the two verbs stand in sql/."""

from pathlib import Path

from alembic import op

revision = "0019"
down_revision = "0018"

# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0019_fair_deliveries.sql").read_text().split("-- verb: ")[1:]
# With other parameters it would stand beside the old one.
_DROP_CLAIM = "DROP FUNCTION claim_deliveries(timestamptz, interval, int, int, uuid[], int[], int, int, int)"


def upgrade() -> None:
    op.execute("ALTER TABLE webhook_lanes ADD COLUMN pace_ms INTEGER")
    op.execute("CREATE INDEX webhook_deliveries_died_idx ON webhook_deliveries (finished_at) WHERE state = 'dead'")
    op.execute(_DROP_CLAIM)
    for verb in _VERBS:
        op.execute(f"-- {verb}")
