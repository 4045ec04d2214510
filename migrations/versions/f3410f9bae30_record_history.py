"""record history

Revision ID: f3410f9bae30
Revises: 1ef3177d92ce
Create Date: 2026-11-23 01:00:00

Every change to the settings leaves an entry that nobody can change, written in the transaction of the change. On
PostgreSQL a trigger writes it from the rows themselves, so that a new column needs no new trigger, as the owner of the
table, so that the role that runs the service need not be able to write entries. On SQLite the application writes it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "f3410f9bae30"
down_revision = "1ef3177d92ce"
branch_labels = None
depends_on = None

# A SECURITY DEFINER function must not look for tables in a schema that its caller can write to, pg_temp first of all.
SAFE_PATH = "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)"

# What follows every change, or never changes, is put back before rows are compared, and is no change by itself.
NOT_SETTINGS = "ARRAY['id', 'singleton', 'revision', 'updated_at', 'updated_by', 'maintenance_since']"

# BEFORE: counts. A row that is inserted anew goes on where the history ends.
RECORD = f"""
CREATE OR REPLACE FUNCTION system_settings_record() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.id := OLD.id;
        NEW.revision := OLD.revision;
        NEW.updated_at := OLD.updated_at;
        NEW.updated_by := OLD.updated_by;
        NEW.maintenance_since := OLD.maintenance_since;
        IF to_jsonb(NEW) - {NOT_SETTINGS} = to_jsonb(OLD) - {NOT_SETTINGS} THEN
            RETURN NEW;
        END IF;
        NEW.revision := OLD.revision + 1;
    ELSE
        SELECT coalesce(max(revision), 0) + 1 INTO NEW.revision FROM system_settings_history;
    END IF;
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := coalesce(nullif(current_setting('dop_be.actor', true), ''), session_user);
    IF TG_OP = 'INSERT' THEN
        NEW.maintenance_since := CASE WHEN NEW.is_maintain THEN NEW.updated_at END;
    ELSIF NEW.is_maintain <> OLD.is_maintain THEN
        NEW.maintenance_since := NEW.updated_at;
    END IF;
    RETURN NEW;
END $$
"""
# AFTER: writes the entry, so that an INSERT that ends in ON CONFLICT leaves none.
REMEMBER = f"""
CREATE FUNCTION system_settings_remember() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    before jsonb;
    after jsonb := to_jsonb(NEW) - {NOT_SETTINGS};
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := to_jsonb(OLD) - {NOT_SETTINGS};
    ELSE
        SELECT "values" INTO before FROM system_settings_history ORDER BY revision DESC LIMIT 1;
    END IF;
    INSERT INTO system_settings_history
        (revision, changed_at, changed_by, source, reason, request_id, changes, "values")
    SELECT NEW.revision, NEW.updated_at, NEW.updated_by,
        coalesce(nullif(current_setting('dop_be.source', true), ''), 'sql'),
        nullif(current_setting('dop_be.reason', true), ''),
        nullif(current_setting('dop_be.request_id', true), ''),
        coalesce(jsonb_object_agg(key, jsonb_build_object('from', before -> key, 'to', value)), '{{}}'),
        after
    FROM jsonb_each(after) WHERE coalesce(before -> key, 'null') <> value;
    RETURN NULL;
END $$
"""
REFUSE = """
CREATE FUNCTION system_settings_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is refused on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$
"""
TRIGGERS = """
CREATE TRIGGER system_settings_record BEFORE INSERT OR UPDATE ON system_settings
FOR EACH ROW EXECUTE FUNCTION system_settings_record();
CREATE TRIGGER system_settings_inserted AFTER INSERT ON system_settings
FOR EACH ROW EXECUTE FUNCTION system_settings_remember();
CREATE TRIGGER system_settings_updated AFTER UPDATE ON system_settings
FOR EACH ROW WHEN (OLD.revision <> NEW.revision) EXECUTE FUNCTION system_settings_remember();
CREATE TRIGGER system_settings_refuse BEFORE TRUNCATE ON system_settings
FOR EACH STATEMENT EXECUTE FUNCTION system_settings_refuse();
CREATE TRIGGER system_settings_history_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON system_settings_history
FOR EACH STATEMENT EXECUTE FUNCTION system_settings_refuse()
"""
DROP_TRIGGERS = """
DROP TRIGGER system_settings_history_refuse ON system_settings_history;
DROP TRIGGER system_settings_refuse ON system_settings;
DROP TRIGGER system_settings_updated ON system_settings;
DROP TRIGGER system_settings_inserted ON system_settings;
DROP TRIGGER system_settings_record ON system_settings;
DROP FUNCTION system_settings_refuse();
DROP FUNCTION system_settings_remember()
"""
SQLITE_TRIGGERS = [
    f"CREATE TRIGGER system_settings_history_no_{verb} BEFORE {verb} ON system_settings_history"
    f" BEGIN SELECT RAISE(ABORT, '{verb} is refused on system_settings_history'); END"
    for verb in ("UPDATE", "DELETE")
]

# The settings as they are when the history begins, or begins again after a downgrade.
FIRST_VALUES = (
    "jsonb_build_object('is_maintain', is_maintain,"
    " 'maintenance_mode', maintenance_mode, 'maintenance_message', maintenance_message)"
)
SQLITE_FIRST_VALUES = (
    "json_object('is_maintain', json(CASE WHEN is_maintain THEN 'true' ELSE 'false' END),"
    " 'maintenance_mode', maintenance_mode, 'maintenance_message', maintenance_message)"
)
CONTINUE = """
UPDATE system_settings SET revision = (SELECT max(revision) + 1 FROM system_settings_history)
WHERE revision < (SELECT max(revision) FROM system_settings_history)
"""
FIRST_ENTRY = """
INSERT INTO system_settings_history (revision, changed_at, changed_by, source, changes, "values")
SELECT revision, updated_at, coalesce(updated_by, {user}), 'migration', '{{}}', {values} FROM system_settings
WHERE revision > (SELECT coalesce(max(revision), 0) FROM system_settings_history)
"""

# What 21da7929d68a made, for the downgrade.
OLD_RECORD = """
CREATE OR REPLACE FUNCTION system_settings_record() RETURNS trigger LANGUAGE plpgsql AS $$
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
OLD_TRIGGER = """
CREATE TRIGGER system_settings_record BEFORE UPDATE ON system_settings
FOR EACH ROW EXECUTE FUNCTION system_settings_record()
"""


def upgrade() -> None:
    postgresql = op.get_context().dialect.name == "postgresql"
    if postgresql:
        op.execute(SAFE_PATH)
        op.execute("DROP TRIGGER system_settings_record ON system_settings")
    create_table()
    op.execute(CONTINUE)
    if postgresql:
        op.execute(FIRST_ENTRY.format(user="session_user", values=FIRST_VALUES))
        for statement in (RECORD, REMEMBER, REFUSE, TRIGGERS):
            op.execute(statement)
    else:
        op.execute(FIRST_ENTRY.format(user="'migration'", values=SQLITE_FIRST_VALUES))
        for statement in SQLITE_TRIGGERS:
            op.execute(statement)


def create_table() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.create_table(
        "system_settings_history",
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("changes", json, nullable=False),
        sa.Column("values", json, nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_system_settings_history")),
        if_not_exists=True,
    )


def downgrade() -> None:
    """The table stays, with its entries."""
    if op.get_context().dialect.name == "postgresql":
        for statement in (DROP_TRIGGERS, OLD_RECORD, OLD_TRIGGER):
            op.execute(statement)
    else:
        op.execute("DROP TRIGGER system_settings_history_no_UPDATE")
        op.execute("DROP TRIGGER system_settings_history_no_DELETE")
