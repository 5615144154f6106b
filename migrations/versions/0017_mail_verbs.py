"""Taking and publishing mail as one round trip each; the functions stand in sql/."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision = "0016"

# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0017_mail_verbs.sql").read_text().split("-- verb: ")[1:]


def upgrade() -> None:
    for verb in _VERBS:
        op.execute(f"-- {verb}")
