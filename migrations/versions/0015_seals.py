"""What a row says of the key that sealed it is what its sealed bytes say: retiring a key depends on it."""

from alembic import op

revision = "0015"
down_revision = "0014"

# Sealed bytes of form 1 begin with `lbs1` and the key's id; those of before say nothing.
_TABLES = """
ALTER TABLE kept_answers ADD CONSTRAINT kept_answers_kid_check
    CHECK (substr(sealed, 1, 4) <> 'lbs1'::bytea OR encode(substr(sealed, 5, 4), 'hex') = kid);
ALTER TABLE dkim_keys ADD CONSTRAINT dkim_keys_kid_check
    CHECK (substr(sealed, 1, 4) <> 'lbs1'::bytea OR encode(substr(sealed, 5, 4), 'hex') = kid);
ALTER TABLE webhook_secrets ADD CONSTRAINT webhook_secrets_kid_check
    CHECK (substr(sealed, 1, 4) <> 'lbs1'::bytea OR encode(substr(sealed, 5, 4), 'hex') = kid);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
