"""announce migrations

Revision ID: 877a0317f2a8
Revises: 1ef3177d92ce
Create Date: 2026-11-23 01:30:00

A migration is a change too: running workers look again when one is done, and so know whether the database is behind
or ahead of their code without asking it.
"""

from alembic import op

revision = "877a0317f2a8"
down_revision = "1ef3177d92ce"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER live_state_raise AFTER INSERT OR UPDATE OR DELETE ON alembic_version"
            " FOR EACH ROW EXECUTE FUNCTION live_state_raise()"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER live_state_raise ON alembic_version")
