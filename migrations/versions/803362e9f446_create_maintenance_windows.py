"""create maintenance_windows

Revision ID: 803362e9f446
Revises: c41f7d90e2ab
Create Date: 2026-11-23 00:50:00

A downgrade leaves the table with its windows. The triggers raise
`live_state.version` also for what is written by hand; row triggers do not see TRUNCATE, so that has one of its own.
"""

import sqlalchemy as sa
from alembic import op

revision = "803362e9f446"
down_revision = "c41f7d90e2ab"
branch_labels = None
depends_on = None

SQLITE_UUID = (
    "(lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)"
    " || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2))"
)
# As for system_settings: some platforms keep extensions in a schema of their own.
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
        "maintenance_windows",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("uuid_generate_v4()" if postgresql else SQLITE_UUID), nullable=False
        ),
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
        if_not_exists=True,
    )
    if postgresql:
        op.execute(
            "CREATE TRIGGER live_state_raise AFTER INSERT OR UPDATE OR DELETE ON maintenance_windows"
            " FOR EACH ROW EXECUTE FUNCTION live_state_raise()"
        )
        op.execute(
            "CREATE TRIGGER live_state_raise_emptied AFTER TRUNCATE ON maintenance_windows"
            " FOR EACH STATEMENT EXECUTE FUNCTION live_state_raise()"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER live_state_raise_emptied ON maintenance_windows")
        op.execute("DROP TRIGGER live_state_raise ON maintenance_windows")
