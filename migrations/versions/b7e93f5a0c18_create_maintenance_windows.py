"""create maintenance_windows

Revision ID: b7e93f5a0c18
Revises: 8d41b6c9e702
Create Date: 2026-11-25 03:02:00
"""

import sqlalchemy as sa
from alembic import op

from migrations import sql

revision = "b7e93f5a0c18"
down_revision = "8d41b6c9e702"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sql.find_uuid_ossp(op)
    sql.create_table(
        "maintenance_windows",
        sa.Column("id", sa.Uuid(), server_default=sql.new_uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mode", sa.String(16), server_default="full", nullable=False),
        sa.Column("message", sa.String(500), nullable=True),
        sa.Column("timezone", sa.String(64), server_default="UTC", nullable=False),
        sa.Column("rrule", sa.String(200), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance_windows")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_maintenance_windows_starts_before_end")),
        sa.CheckConstraint(
            "starts_at >= '2000-01-01' AND ends_at < '3000-01-01'", name=op.f("ck_maintenance_windows_finite")
        ),
        sa.CheckConstraint(
            "ended_at >= '2000-01-01' AND ended_at < '3000-01-01'", name=op.f("ck_maintenance_windows_ended_finite")
        ),
        sa.CheckConstraint("mode IN ('full', 'read_only')", name=op.f("ck_maintenance_windows_mode")),
    )
    ad_hoc = sa.Column("ad_hoc", sa.Boolean(), server_default=sa.false(), nullable=False)
    op.add_column("maintenance_windows", ad_hoc, if_not_exists=True)  # the first version's table lacks it
    if sql.is_postgresql():
        sql.watch("maintenance_windows", "window", key="id")


def downgrade() -> None:
    """Leave the windows where they are."""
    if sql.is_postgresql():
        sql.unwatch("maintenance_windows")
