"""Audit rows say how much money moved: holds given back by time, and leases that were paid for; functions in sql/."""

from pathlib import Path

from alembic import op

revision = "0020"
down_revision = "0019"

# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0020_audited_sums.sql").read_text().split("-- verb: ")[1:]
# With two parameters more it would stand beside the old one. Both have defaults: calls that leave them out go on.
_DROP_GRANT = """
DROP FUNCTION grant_lease(text, uuid, uuid, uuid[], uuid, uuid, text, text, text, text, jsonb, text, timestamptz,
                          timestamptz, timestamptz, timestamptz, text, text, text, uuid)
"""


def upgrade() -> None:
    op.execute(_DROP_GRANT)
    for verb in _VERBS:
        op.execute(f"-- {verb}")
