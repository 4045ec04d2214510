"""record and announce changes

Revision ID: 5c2f0e7d1a34
Revises: 4b47f7895f36
Create Date: 2026-11-25 03:00:00

`changes` is the one record of who changed what; `live_state.version` grows with every change to anything a request
needs and is announced on the channel `dop_be`. On PostgreSQL triggers write both, whoever the writer is; on SQLite the
application does.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations import sql

revision = "5c2f0e7d1a34"
down_revision = "4b47f7895f36"
branch_labels = None
depends_on = None

DERIVED = "id singleton revision updated_at updated_by maintenance_since"  # they follow every change to the settings

# Puts back what a writer must not set, counts, and notes when and by whom. A row that is older than the record, or that
# was inserted anew, goes on after it.
COUNT_REVISION = """
CREATE OR REPLACE FUNCTION @schema.count_revision() RETURNS trigger
LANGUAGE plpgsql @definer AS $f$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.id := OLD.id;
        NEW.revision := OLD.revision;
        NEW.updated_at := OLD.updated_at;
        NEW.updated_by := OLD.updated_by;
        NEW.maintenance_since := OLD.maintenance_since;
        IF to_jsonb(NEW) = to_jsonb(OLD) THEN
            RETURN NEW;
        END IF;
    END IF;
    NEW.revision := greatest(OLD.revision, (SELECT max(revision) FROM @schema.changes), 0) + 1;
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := left(coalesce(nullif(current_setting('dop_be.actor', true), ''), session_user), 200);
    IF TG_OP = 'INSERT' THEN
        NEW.maintenance_since := CASE WHEN NEW.is_maintain THEN NEW.updated_at END;
    ELSIF NEW.is_maintain <> OLD.is_maintain THEN
        NEW.maintenance_since := NEW.updated_at;
    END IF;
    RETURN NEW;
END $f$
"""
# Deletes the oldest entries and records how many. It keeps what earlier prunings recorded, and the newest revision, from
# which the numbers go on. Raising the version makes it wait for other writers first.
PRUNE = """
CREATE OR REPLACE FUNCTION @schema.prune_changes(moment timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql @definer AS $f$
DECLARE
    next bigint;
    newest integer;
    deleted bigint;
    raised bigint;
BEGIN
    @raise
    SELECT max(id) + 1, max(revision) INTO next, newest FROM @schema.changes;
    DELETE FROM @schema.changes WHERE id IN (
        SELECT id FROM @schema.changes
        WHERE changed_at < moment AND coalesce(revision < newest, true)
            AND NOT (kind = 'settings' AND revision IS NULL AND changes ? 'history' AND NOT changes ? 'is_maintain')
        ORDER BY id LIMIT most
    );
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted > 0 THEN
        INSERT INTO @schema.changes
            (id, kind, action, changed_at, changed_by, database_user, source, reason, changes)
        VALUES (next, 'settings', 'delete', clock_timestamp(),
            left(coalesce(nullif(current_setting('dop_be.actor', true), ''), session_user), 200), session_user,
            @source,
            nullif(current_setting('dop_be.reason', true), ''),
            jsonb_build_object('history', jsonb_build_object(
                'from', deleted || CASE deleted WHEN 1 THEN ' entry' ELSE ' entries' END || ' from before '
                    || to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'to', null)));
    END IF;
    RETURN deleted;
END $f$
"""
OWN_FUNCTIONS = (
    "raise_version()",
    "record_change()",
    "count_revision()",
    "prune_changes(timestamptz, integer)",
)
# What the first version made, whose database may be taken over.
OLD_FUNCTIONS = (
    "system_settings_record", "system_settings_remember", "system_settings_refuse", "live_state_raise",
    "live_state_announce",
)  # fmt: skip

# The settings as they are when the record begins, or begins again after a downgrade: every column that there is by then.
FIRST_VALUES = f"to_jsonb(system_settings) - string_to_array('{DERIVED}', ' ')"
# For another hand to run on SQLite, which cannot list the columns: those of the first revisions.
SQLITE_FIRST_VALUES = (
    "json_object('is_maintain', json(CASE WHEN is_maintain THEN 'true' ELSE 'false' END),"
    " 'maintenance_mode', maintenance_mode, 'maintenance_message', maintenance_message)"
)
CONTINUE = """
UPDATE system_settings SET revision = (SELECT max(revision) + 1 FROM changes)
WHERE revision < (SELECT max(revision) FROM changes)
"""
FIRST_ENTRY = """
INSERT INTO changes (id, kind, revision, action, changed_at, changed_by, database_user, source, changes, "values")
SELECT (SELECT coalesce(max(id), 0) + 1 FROM changes), 'settings', revision, 'insert', updated_at,
    coalesce(updated_by, {by}), {user}, 'migration', '{{}}', {values}
FROM system_settings WHERE revision > (SELECT coalesce(max(revision), 0) FROM changes)
"""


def upgrade() -> None:
    create_tables()
    if sql.is_postgresql():
        forget_first_version()
        op.execute(CONTINUE)
        sql.fix_output()
        op.execute(FIRST_ENTRY.format(by="session_user", user="session_user", values=FIRST_VALUES))
        for function in (sql.RAISE_VERSION, sql.RECORD_CHANGE, sql.REFUSE, COUNT_REVISION, PRUNE):
            sql.execute_in_schema(function)
        for function in OWN_FUNCTIONS:  # a trigger of one's own with such a function could write false records
            op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        op.execute(
            "CREATE TRIGGER count_revision BEFORE INSERT OR UPDATE ON system_settings"
            " FOR EACH ROW EXECUTE FUNCTION count_revision()"
        )
        sql.watch("system_settings", "settings", derived=DERIVED)
        guard("changes", "UPDATE OR DELETE OR TRUNCATE")
        guard("live_state", "DELETE OR TRUNCATE")
    else:
        op.execute(CONTINUE)
        begin_on_sqlite()
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER changes_no_{verb} BEFORE {verb} ON changes"
                f" BEGIN SELECT RAISE(ABORT, '{verb} is refused on changes'); END"
            )


def begin_on_sqlite() -> None:
    """Write the first entry from the row as Python reads it: SQLite's own JSON keeps 15 digits of a number."""
    if op.get_context().as_sql:
        op.execute(FIRST_ENTRY.format(by="'migration'", user="NULL", values=SQLITE_FIRST_VALUES))
        return
    bind = op.get_bind()
    types = {column["name"]: column["type"] for column in sa.inspect(bind).get_columns("system_settings")}
    if row := bind.exec_driver_sql("SELECT * FROM system_settings").mappings().first():
        kept = {name: as_json(row[name], types[name]) for name in row if name not in DERIVED.split()}
        entry = sa.text(FIRST_ENTRY.format(by="'migration'", user="NULL", values=":kept"))
        op.execute(entry.bindparams(kept=json.dumps(kept)))


def as_json(value: Any, kind: Any) -> Any:
    """Return a value of SQLite's as the API shows one of that type."""
    if isinstance(kind, sa.Boolean) and value is not None:
        return bool(value)
    if isinstance(kind, sa.DateTime) and isinstance(value, str):
        return f"{value.replace(' ', 'T')}Z"  # it is kept in UTC, without an offset
    return value.hex() if isinstance(value, bytes) else value


def create_tables() -> None:
    any_json = sa.JSON().with_variant(JSONB(), "postgresql")
    sql.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(200), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(8), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("database_user", sa.String(63), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("changes", any_json, nullable=False),
        sa.Column("values", any_json, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    for columns in (["revision"], ["kind", "id"], ["key", "id"], ["changed_by", "id"], ["kind", "changed_by", "id"]):
        op.create_index(op.f(f"ix_changes_{'_'.join(columns)}"), "changes", columns, if_not_exists=True)
    sql.create_table(
        "live_state",
        sa.Column("singleton", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_live_state")),
        sa.CheckConstraint("singleton", name=op.f("ck_live_state_singleton")),
    )
    op.execute("INSERT INTO live_state (singleton) SELECT true WHERE NOT EXISTS (SELECT 1 FROM live_state)")


def forget_first_version() -> None:
    """Drop the first version's triggers with their functions; they would do the new ones' work a second time."""
    for function in OLD_FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {function}() CASCADE")


def guard(table: str, verbs: str) -> None:
    op.execute(
        f"CREATE TRIGGER refuse_change BEFORE {verbs} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Leave the tables where they are; the next upgrade takes them up again."""
    if sql.is_postgresql():
        sql.unwatch("system_settings")
        op.execute("DROP TRIGGER count_revision ON system_settings")
        op.execute("DROP TRIGGER refuse_change ON changes")
        op.execute("DROP TRIGGER refuse_change ON live_state")
        for function in (*OWN_FUNCTIONS, "refuse_change()"):
            op.execute(f"DROP FUNCTION {function}")
    else:
        op.execute("DROP TRIGGER changes_no_UPDATE")
        op.execute("DROP TRIGGER changes_no_DELETE")
