"""Rights that nothing needs are withdrawn; payment proofs stay; a claim's key can be fetched again until it is used."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"

# Each begins with a line `-- verb: name`.
_VERBS = (Path(__file__).parents[1] / "sql" / "0018_rights.sql").read_text().split("-- verb: ")[1:]
_PROOFS = (
    "CREATE TRIGGER payment_proofs_stay BEFORE DELETE ON payment_proofs FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    """
CREATE TRIGGER payment_proofs_no_truncate BEFORE TRUNCATE ON payment_proofs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
)
_CLAIMS = (
    "ALTER TABLE api_keys ADD COLUMN awaited BOOLEAN DEFAULT false NOT NULL",
    "ALTER TABLE claims ADD COLUMN collected_at TIMESTAMP WITH TIME ZONE",
    "CREATE INDEX claims_key_hash_idx ON claims (key_hash)",
    """
UPDATE api_keys k SET awaited = true FROM claims c
WHERE c.key_hash = k.token_hash AND c.state = 'approved' AND c.sealed_key IS NOT NULL""",
)


def upgrade() -> None:
    for verb in _VERBS:
        op.execute(f"-- {verb}")
    for statement in (*_PROOFS, *_CLAIMS, "SELECT withdraw_rights()"):
        op.execute(statement)
