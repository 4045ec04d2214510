"""seed system_settings

Revision ID: 4b47f7895f36
Revises: a3c7ac7bcf42
Create Date: 2026-11-23 00:32:00
"""

from alembic import op

revision = "4b47f7895f36"
down_revision = "a3c7ac7bcf42"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "INSERT INTO system_settings (is_maintain) SELECT false WHERE NOT EXISTS (SELECT 1 FROM system_settings)"
    )


def downgrade() -> None:
    """Leave the row where it is: it may say that maintenance is on."""
