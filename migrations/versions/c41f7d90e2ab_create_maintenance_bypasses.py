"""create maintenance_bypasses

Revision ID: c41f7d90e2ab
Revises: e6ae72f933b2
Create Date: 2026-11-23 00:36:00
"""

import sqlalchemy as sa
from alembic import op

revision = "c41f7d90e2ab"
down_revision = "e6ae72f933b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "maintenance_bypasses",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_maintenance_bypasses")),
        sa.UniqueConstraint("digest", name=op.f("uq_maintenance_bypasses_digest")),
        if_not_exists=True,
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER live_state_raise AFTER INSERT OR UPDATE OR DELETE ON maintenance_bypasses"
            " FOR EACH ROW EXECUTE FUNCTION live_state_raise()"
        )
        op.execute(
            "CREATE TRIGGER live_state_raise_emptied AFTER TRUNCATE ON maintenance_bypasses"
            " FOR EACH STATEMENT EXECUTE FUNCTION live_state_raise()"
        )


def downgrade() -> None:
    """The table stays: whoever was given a bypass still has it after the next upgrade."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER live_state_raise_emptied ON maintenance_bypasses")
        op.execute("DROP TRIGGER live_state_raise ON maintenance_bypasses")
