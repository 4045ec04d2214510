"""SQL that several revisions share, the same on both databases. Revisions that are out rely on it: only add to it.

The functions are SECURITY DEFINER, so that the role that runs the service need not be able to write what they write.
Such a function must not look for names where its caller can put some (PostgreSQL, "Writing SECURITY DEFINER Functions
Safely"): its search_path is fixed, and the schema of our tables is written into it when it is made.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

# Some platforms keep extensions in a schema of their own, where an unqualified name is not found. A default binds to
# the function itself, so the path matters for this transaction alone.
FIND_EXTENSION = """
SELECT set_config(
    'search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(nspname)), true
)
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'uuid-ossp'
"""

# A recorded value is text, and the session's settings say how PostgreSQL writes it: some lose digits of a number, so
# that a change to them would look like none; others give one value several texts. The functions set them for every
# writer. (PostgreSQL, "Client Connection Defaults")
OUTPUT = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}
DEFINER = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp " + " ".join(
    f"SET {name} = '{value}'" for name, value in OUTPUT.items()
)

# What a writer says of itself counts where it is one of these words.
SOURCE = """CASE WHEN current_setting('dop_be.source', true) IN ('api', 'cli', 'panel', 'migration')
            THEN current_setting('dop_be.source', true) ELSE 'sql' END"""

# Raises the version and announces it, which takes a lock of the whole cluster at commit. A missing row of live_state is
# made again, near the number that it had: every change that is recorded has raised it.
RAISE = """INSERT INTO @schema.live_state AS state (singleton, version)
        VALUES (true, (SELECT coalesce(max(id), 0) + 2 FROM @schema.changes))
        ON CONFLICT (singleton) DO UPDATE SET version = state.version + 1
        RETURNING version INTO raised;
        PERFORM pg_notify('dop_be', raised::text);"""

# Once for a transaction, whose rows become visible together: raising it for each takes a time that grows with their
# square. PostgreSQL sends once what is announced twice in a transaction. Who else writes live_state, as replication
# does, announces nothing.
RAISE_VERSION = """
CREATE OR REPLACE FUNCTION @schema.raise_version() RETURNS trigger
LANGUAGE plpgsql @definer AS $f$
DECLARE
    raised bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) = to_jsonb(OLD) THEN
        RETURN NULL;
    END IF;
    SELECT version INTO raised FROM @schema.live_state WHERE xmin = pg_current_xact_id()::xid;
    IF FOUND THEN
        PERFORM pg_notify('dop_be', raised::text);
    ELSE
        @raise
    END IF;
    RETURN NULL;
END $f$
"""

# Its arguments: the kind, the column that is the key, the columns that it leaves out, the columns that are secret.
# Where a row with a key comes or goes, the entry itself tells which and when, so that these columns are left out.
# Writers queue at the row of live_state, which the trigger before this one has changed: so ids are given out in the
# order of commits, and a table that was copied without its sequence still has the next one.
RECORD_CHANGE = """
CREATE OR REPLACE FUNCTION @schema.record_change() RETURNS trigger
LANGUAGE plpgsql @definer AS $f$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    derived text[] := string_to_array(TG_ARGV[2], ' ');
    secret text[] := string_to_array(TG_ARGV[3], ' ');
    told text[] := CASE WHEN TG_OP <> 'UPDATE' AND TG_ARGV[1] <> '' THEN ARRAY[TG_ARGV[1], 'id', 'created_at'] END;
    changed jsonb;
BEGIN
    SELECT jsonb_object_agg(field, jsonb_build_object(
        'from', CASE WHEN field = ANY (secret) AND before ->> field <> '' THEN '"(secret)"' ELSE before -> field END,
        'to', CASE WHEN field = ANY (secret) AND after ->> field <> '' THEN '"(secret)"' ELSE after -> field END
    )) INTO changed
    FROM jsonb_object_keys(coalesce(before, '{}') || coalesce(after, '{}')) AS field
    WHERE field <> ALL (derived || told)
        AND coalesce(before -> field, 'null') IS DISTINCT FROM coalesce(after -> field, 'null');
    IF TG_OP = 'UPDATE' AND changed IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO @schema.changes
        (id, kind, key, revision, action, changed_at, changed_by, database_user, source, reason, request_id,
        changes, "values")
    SELECT
        (SELECT coalesce(max(id), 0) + 1 FROM @schema.changes),
        TG_ARGV[0],
        coalesce(after, before) ->> TG_ARGV[1],
        (after ->> 'revision')::integer,
        lower(TG_OP),
        coalesce((after ->> 'updated_at')::timestamptz, clock_timestamp()),
        left(coalesce(nullif(current_setting('dop_be.actor', true), ''), session_user), 200),
        session_user,
        @source,
        nullif(current_setting('dop_be.reason', true), ''),
        nullif(current_setting('dop_be.request_id', true), ''),
        coalesce(changed, '{}'),
        CASE WHEN TG_ARGV[0] = 'settings' THEN after - derived END;
    RETURN NULL;
END $f$
"""

# The stack tells who deletes, whatever a session has set. The owner of a table can still disable its triggers.
REFUSE = """
CREATE OR REPLACE FUNCTION @schema.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
    stack text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'changes'
        AND strpos(stack, format(' %I.prune_changes(timestamp with time zone,integer) ', TG_TABLE_SCHEMA)) > 0 THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is refused on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $f$
"""


def is_postgresql() -> bool:
    """Whether the revision runs on, or is written for, PostgreSQL."""
    return bool(op.get_context().dialect.name == "postgresql")


def fix_output() -> None:
    """Have PostgreSQL write values in this revision as the functions do, whatever the role has set."""
    for name, value in OUTPUT.items():
        op.execute(f"SET LOCAL {name} = '{value}'")


def find_uuid_ossp(operations: Any) -> None:
    """Make `new_uuid()` found for the rest of this revision, whatever schema the extension is in; pass `op`."""
    if operations.get_context().dialect.name == "postgresql":
        operations.execute(FIND_EXTENSION)


class new_uuid(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """A random UUID made by the database, as a server default; `find_uuid_ossp(op)` goes before."""

    type = sa.Uuid()
    name = "new_uuid"
    inherit_cache = True


@compiles(new_uuid, "postgresql")
def _new_uuid_postgresql(element: new_uuid, compiler: Any, **kw: Any) -> str:
    return "uuid_generate_v4()"


@compiles(new_uuid, "sqlite")
def _new_uuid_sqlite(element: new_uuid, compiler: Any, **kw: Any) -> str:
    # 32 hex digits, as SQLAlchemy's Uuid stores them there, with the version and variant bits of RFC 9562 section 5.4
    return (
        "(lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)"
        " || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2))"
    )


def create_table(name: str, *elements: sa.schema.SchemaItem) -> None:
    """Create a table, or take one of ours as it is found: a downgrade leaves tables where they are.

    Raises:
        CommandError: there is a table of that name that lacks our columns, so it is another program's.
    """
    if not op.get_context().as_sql and sa.inspect(op.get_bind()).has_table(name):
        found = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)}
        if missing := [item.name for item in elements if isinstance(item, sa.Column) and item.name not in found]:
            raise CommandError(
                f"there is a table {name} without {', '.join(missing)} here, which is another program's: give dop_be a"
                " schema of its own, see docs/migrations.md"
            )
    op.create_table(name, *elements, if_not_exists=True)


def execute_in_schema(statement: str) -> None:
    """Run a statement on PostgreSQL with `@schema` replaced by the schema that new tables go to, also with --sql.

    `@definer` is replaced by what a function needs that runs as its owner, whatever the session has set; `@source` by
    the source of a change, `@raise` by the statements that raise the version.
    """
    for name, text in (("@definer", DEFINER), ("@source", SOURCE), ("@raise", RAISE)):
        statement = statement.replace(name, text)
    op.execute(
        f"DO $do$ BEGIN EXECUTE replace($sql${statement}$sql$, '@schema', quote_ident(current_schema())); END $do$"
    )


def watch(table: str, kind: str, *, key: str = "", derived: str = "", secret: str = "") -> None:
    """Have every change to a table raise the version and leave a record.

    Only the trigger that raises the version fires also for what logical replication brings (ENABLE ALWAYS): that was
    recorded where it was made, and recording it again would stop the subscriber.

    Args:
        table: its name.
        kind: what the record calls a row of it.
        key: the column that says which row.
        derived: the columns, with spaces between, that follow other changes and are none by themselves.
        secret: the columns, with spaces between, whose values are recorded as "(secret)".
    """
    unwatch(table)
    arguments = ", ".join(f"'{argument}'" for argument in (kind, key, derived, secret))
    every = f"AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION"
    emptied = f"TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION"
    for trigger in (
        f"raise_version {every} raise_version()",
        f"raise_version_emptied AFTER {emptied} raise_version()",
        f"record_change {every} record_change({arguments})",
        f"refuse_truncate BEFORE {emptied} refuse_change()",
    ):
        op.execute(f"CREATE TRIGGER {trigger}")
    for name in ("raise_version", "raise_version_emptied"):
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def unwatch(table: str) -> None:
    """Take these triggers away again, where they are."""
    for name in ("raise_version", "raise_version_emptied", "record_change", "refuse_truncate"):
        op.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
