"""create system_settings

Revision ID: a3c7ac7bcf42
Revises: 19176e327d47
Create Date: 2026-11-23 00:31:00

Every column has a default of the database, so that `insert into system_settings default values` is enough for a row.
`singleton` is true and unique: the database itself refuses a second row.
"""

import sqlalchemy as sa
from alembic import op

from migrations import sql

revision = "a3c7ac7bcf42"
down_revision = "19176e327d47"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sql.find_uuid_ossp(op)
    sql.create_table(
        "system_settings",
        sa.Column("id", sa.Uuid(), server_default=sql.new_uuid(), nullable=False),
        sa.Column("singleton", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("is_maintain", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("maintenance_mode", sa.String(16), server_default="full", nullable=False),
        sa.Column("maintenance_message", sa.String(500), nullable=True),
        sa.Column("maintenance_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_settings")),
        sa.UniqueConstraint("singleton", name=op.f("uq_system_settings_singleton")),
        sa.CheckConstraint("singleton", name=op.f("ck_system_settings_singleton")),
        sa.CheckConstraint(
            "maintenance_mode IN ('full', 'read_only')", name=op.f("ck_system_settings_maintenance_mode")
        ),
    )


def downgrade() -> None:
    """Leave the table where it is, with its row: it may say that maintenance is on."""
