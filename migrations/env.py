"""Runs Alembic for both command lines, `flask db …` and `alembic …`: one at a time, never in production's way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import flask
import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError

LOCK_KEY = 0x646F705F6265  # "dop_be" in hexadecimal: no other program's advisory lock is ours by chance
LOCK_POLL_SECONDS = 0.2
logger = logging.getLogger("alembic.dop_be")


def main() -> None:
    logging.basicConfig(format="%(levelname)-5.5s [%(name)s] %(message)s", level=logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.INFO)
    if flask.has_app_context():
        migrate()
    else:
        from wsgi import app  # noqa: PLC0415 - the plain `alembic` command comes without an application

        with app.app_context():
            migrate()


def migrate() -> None:
    db = flask.current_app.extensions["migrate"].db
    options = {
        "target_metadata": db.metadata,
        "compare_server_default": differing_default,
        "render_item": rendered,
        "render_as_batch": True,
        "process_revision_directives": without_empty_revision,
    }
    given = context.config.attributes.get("connection")  # the engine or connection of a test
    if context.is_offline_mode():
        write_sql(db.engine.dialect.name, options)
    elif isinstance(given, sa.Connection):
        run(given.engine, given, options)
    else:
        engine = given or db.engine
        try:
            with engine.connect() as connection:
                run(engine, connection, options)
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            raise CommandError(one_line(error)) from error


def write_sql(dialect: str, options: dict[str, Any]) -> None:
    """Print SQL for `-x dialect=…`, by default the configured database's; no server is asked."""
    dialect = context.get_x_argument(as_dictionary=True).get("dialect", dialect)
    context.configure(dialect_name=dialect, literal_binds=True, transactional_ddl=True, **options)
    with context.begin_transaction():
        context.run_migrations()


def run(engine: sa.Engine, connection: sa.Connection, options: dict[str, Any]) -> None:
    # No statement may go through `connection` before `configure`: it would turn transaction_per_migration off.
    postgresql = connection.dialect.name == "postgresql"
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=postgresql, **options)
    moves_database = "destination_rev" in context.get_context().opts  # upgrade, downgrade, stamp; others only read
    if postgresql:
        sa.event.listen(connection, "begin", limit_time)
    else:
        # SQLite's own lock, taken by BEGIN IMMEDIATE, makes the others wait; one transaction holds the whole upgrade.
        connection.connection.driver_connection.execute(
            f"PRAGMA busy_timeout = {setting('MIGRATION_LOCK_WAIT') * 1000}"
        )
    with release_lock(engine) if postgresql and moves_database else nullcontext(), context.begin_transaction():
        context.run_migrations()


def limit_time(connection: sa.Connection) -> None:
    """Set this migration's limits for its own transaction, so that nothing leaks through a pooler.

    lock_timeout keeps readers from queueing behind a waiting ALTER; statement_timeout ends a runaway;
    client_connection_check_interval ends the statement of a release that was killed.
    """
    connection.exec_driver_sql(
        f"SET LOCAL lock_timeout = {setting('MIGRATION_LOCK_TIMEOUT') * 1000};"
        f" SET LOCAL statement_timeout = {setting('MIGRATION_STATEMENT_TIMEOUT') * 1000};"
        " SET LOCAL client_connection_check_interval = 1000;"
        " SET LOCAL idle_in_transaction_session_timeout = 0;"
        " SET LOCAL dop_be.source = 'migration'"  # what the history says of settings that a migration changes
    )


@contextmanager
def release_lock(engine: sa.Engine) -> Iterator[None]:
    """Hold the one release lock of this database while the block runs.

    A second, READ COMMITTED connection polls for a transaction-level lock: waiting inside pg_advisory_lock would hold a
    snapshot that CREATE INDEX CONCURRENTLY waits for, and a session-level lock would leak through a pooler.

    Raises:
        CommandError: another release still holds it after MIGRATION_LOCK_WAIT seconds.
    """
    deadline = time.monotonic() + setting("MIGRATION_LOCK_WAIT")
    announced = False
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        while not connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK_KEY}):
            holder = lock_holder(connection)
            connection.rollback()
            if time.monotonic() >= deadline:
                raise CommandError(f"gave up waiting for {holder}; MIGRATION_LOCK_WAIT says how many seconds to wait")
            if not announced:
                logger.info("waiting for %s", holder)
                announced = True
            time.sleep(LOCK_POLL_SECONDS)
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


def lock_holder(connection: sa.Connection) -> str:
    """Who holds the release lock, for the person who waits."""
    row = connection.execute(
        sa.text(
            "SELECT a.pid, a.usename, coalesce(host(a.client_addr), 'a local socket') AS address, a.backend_start"
            " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
            " AND (l.classid::bigint << 32) + l.objid::bigint = :key"
        ),
        {"key": LOCK_KEY},
    ).first()
    if row is None:
        return "another release"
    since = f"{row.backend_start:%H:%M:%S}"
    return f"another release: PostgreSQL process {row.pid} of {row.usename} from {row.address}, since {since}"


def differing_default(
    _context: Any,
    _inspected: Any,
    column: sa.Column[Any],
    reflected: Any,
    _metadata_default: Any,
    rendered_default: Any,
) -> bool | None:
    """Leave the portable UUID default out of the comparison: each dialect spells it in its own way."""
    if column.primary_key and isinstance(column.type, sa.Uuid):
        return False
    return None


def rendered(kind: str, item: Any, _context: Any) -> str | bool:
    """Write column types of ours as plain SQLAlchemy ones: a revision imports nothing from dop_be."""
    if kind == "type" and isinstance(item, sa.TypeDecorator) and type(item).__module__.startswith("dop_be"):
        return f"sa.{item.impl_instance!r}"
    return False


def without_empty_revision(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Make no revision file where --autogenerate finds nothing to do."""
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        logger.info("no changes in the schema; no revision made")


def setting(name: str) -> int:
    return int(flask.current_app.config[name])


def one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())


main()
