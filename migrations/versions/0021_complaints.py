"""Who complained about a send attempt is remembered, so that each is counted once."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("ALTER TABLE send_attempts ADD COLUMN complained_at TIMESTAMP WITH TIME ZONE")
    op.execute("ALTER TABLE send_recipients ADD COLUMN complained_at TIMESTAMP WITH TIME ZONE")
