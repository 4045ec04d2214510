"""create maintenance_bypasses

Revision ID: c41f7d90e2ab
Revises: 1ef3177d92ce
Create Date: 2026-11-23 00:36:00

Downgrading keeps the rows aside, and upgrading takes them back: whoever was given a bypass still has it then.
"""

import sqlalchemy as sa
from alembic import op

revision = "c41f7d90e2ab"
down_revision = "1ef3177d92ce"
branch_labels = None
depends_on = None

TABLE = "maintenance_bypasses"
KEPT = f"{TABLE}_kept"


def upgrade() -> None:
    context = op.get_context()
    if not context.as_sql and sa.inspect(op.get_bind()).has_table(KEPT):
        op.rename_table(KEPT, TABLE)
    else:
        op.create_table(
            TABLE,
            sa.Column("name", sa.String(100), nullable=False),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
            sa.Column("created_by", sa.String(200), nullable=False),
            sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
            sa.PrimaryKeyConstraint("name", name=op.f(f"pk_{TABLE}")),
            sa.UniqueConstraint("digest", name=op.f(f"uq_{TABLE}_digest")),
        )
    if context.dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER live_state_raise AFTER INSERT OR UPDATE OR DELETE ON {TABLE}"
            " FOR EACH ROW EXECUTE FUNCTION live_state_raise()"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"DROP TRIGGER live_state_raise ON {TABLE}")
    op.rename_table(TABLE, KEPT)
