"""record changes

Revision ID: 21da7929d68a
Revises: 4b47f7895f36
Create Date: 2026-11-23 00:33:00

On PostgreSQL the database itself counts revisions and notes when and by whom, so that no writer can forget. On SQLite
the application does.
"""

from alembic import op

revision = "21da7929d68a"
down_revision = "4b47f7895f36"
branch_labels = None
depends_on = None

# The recorded columns are the database's own: what a writer puts there is put back before rows are compared.
FUNCTION = """
CREATE FUNCTION system_settings_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := OLD.revision;
    NEW.updated_at := OLD.updated_at;
    NEW.updated_by := OLD.updated_by;
    NEW.maintenance_since := OLD.maintenance_since;
    IF to_jsonb(NEW) = to_jsonb(OLD) THEN
        RETURN NEW;
    END IF;
    NEW.revision := OLD.revision + 1;
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := coalesce(nullif(current_setting('dop_be.actor', true), ''), session_user);
    IF NEW.is_maintain <> OLD.is_maintain THEN
        NEW.maintenance_since := NEW.updated_at;
    END IF;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER system_settings_record BEFORE UPDATE ON system_settings
FOR EACH ROW EXECUTE FUNCTION system_settings_record()
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(FUNCTION)
        op.execute(TRIGGER)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER system_settings_record ON system_settings")
        op.execute("DROP FUNCTION system_settings_record()")
