"""create system_settings

Revision ID: a3c7ac7bcf42
Revises: 19176e327d47
Create Date: 2026-11-23 00:31:00

Every column has a default of the database, so that `insert into system_settings default values` is enough for a row.
`singleton` is true and unique: the database itself refuses a second row.
"""

import sqlalchemy as sa
from alembic import op

revision = "a3c7ac7bcf42"
down_revision = "19176e327d47"
branch_labels = None
depends_on = None

SQLITE_UUID = (
    "(lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)"
    " || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2))"
)
# Some platforms keep extensions in a schema of their own, where an unqualified name is not found. The default binds to
# the function itself, so the path matters for this transaction alone.
FIND_EXTENSION = """
SELECT set_config(
    'search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(nspname)), true
)
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'uuid-ossp'
"""


def upgrade() -> None:
    postgresql = op.get_context().dialect.name == "postgresql"
    if postgresql:
        op.execute(FIND_EXTENSION)
    op.create_table(
        "system_settings",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("uuid_generate_v4()" if postgresql else SQLITE_UUID), nullable=False
        ),
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
        if_not_exists=True,
    )


def downgrade() -> None:
    """The table stays, with its row; the upgrade takes it as it finds it."""
