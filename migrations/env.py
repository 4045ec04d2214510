"""Runs Alembic for both command lines, `flask db …` and `alembic …`: one at a time, never in production's way."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import flask
import sqlalchemy as sa
from alembic import context
from alembic.ddl import postgresql
from alembic.util import CommandError

from migrations import autogenerate, lock, retries, sqlite
from migrations.failures import explained
from migrations.interrupt import interruptible
from migrations.progress import Progress
from migrations.stray import stray_settings

logger = logging.getLogger("alembic.dop_be")


SQLiteImpl = sqlite.SQLiteImpl  # likewise registered, and its operation with it


class PostgresqlImpl(postgresql.PostgresqlImpl):
    """Alembic's own, with the limits in what `--sql` writes too; to define it is to register it for the dialect."""

    __dialect__ = "postgresql"

    def emit_begin(self) -> None:
        super().emit_begin()
        for name in ("lock_timeout", "statement_timeout"):
            self.static_output(f"SET LOCAL {name} = '{lock.limits()[name]}';")
        self.static_output(f"{lock.SET_SOURCE};")


def main() -> None:
    logging.basicConfig(format="%(levelname)-5.5s [%(name)s] %(message)s", level=logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.INFO)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    if told := stray_settings(context.config.toml_file_name):
        logger.warning(told)
    try:
        migrate_in_app()
    except CommandError as error:
        if context.config.cmd_opts is None:  # a program's call, not a command line's
            raise
        logger.error(error)  # noqa: TRY400 - one line, the same for both command lines
        sys.exit(1)


def migrate_in_app() -> None:
    if flask.has_app_context():
        migrate()
    else:
        from wsgi import app  # noqa: PLC0415 - the plain `alembic` command comes without an application

        with app.app_context():
            migrate()


def migrate() -> None:
    db = flask.current_app.extensions["migrate"].db
    options = autogenerate.options(db.metadata)
    given = context.config.attributes.get("connection")  # the engine or connection of a test
    if context.is_offline_mode():
        write_sql(db.engine.dialect.name, options)
    elif isinstance(given, sa.Connection):
        run(given.engine, given, options, Progress())
    else:
        connect(given or db.engine, options)


def write_sql(dialect: str, options: dict[str, Any]) -> None:
    """Print SQL for `-x dialect=…`, by default the configured database's; no server is asked."""
    dialect = context.get_x_argument(as_dictionary=True).get("dialect", dialect)
    context.configure(
        dialect_name=dialect,
        dialect_opts={"paramstyle": "named"},  # psycopg2's own would double every percent sign
        literal_binds=True,
        transactional_ddl=True,
        transaction_per_migration=True,
        **options,
    )
    with context.begin_transaction():
        context.run_migrations()


def connect(engine: sa.Engine, options: dict[str, Any]) -> None:
    """Run on a connection of our own, until the end or a signal.

    Raises:
        CommandError: what an operator, not the author of a revision, has to mend, in one line.
    """
    progress = Progress()
    with interruptible(progress.interrupted) as interrupt, explained(progress, engine.url):
        if engine.dialect.name == "sqlite":
            prepare_file(Path(str(engine.url.database)))
        with engine.connect() as connection:
            interrupt.cancels(connection)
            if engine.dialect.name == "postgresql":
                lock.end_with_this_process(connection)
            run(engine, connection, options, progress)


def prepare_file(path: Path) -> None:
    """Make the SQLite file for an upgrade, and for no other command; say which one it is where nobody has chosen it.

    Raises:
        CommandError: its folder does not exist, which is more likely a mistyped path than a wish.
    """
    config = flask.current_app.config
    if config["DATABASE_IS_DEFAULT"]:
        logger.info("DATABASE_URL is not set: working on the SQLite file %s", path)
    environment: Any = context._proxy  # type: ignore[attr-defined]  # noqa: SLF001 - nowhere else before `configure`
    if path.exists() or environment.context_opts["fn"].__name__ != "upgrade":
        return
    if path.parent == config["INSTANCE"]:
        path.parent.mkdir(exist_ok=True)
    if not path.parent.is_dir():
        raise CommandError(f"There is no folder for the SQLite file {path}; make it, or correct DATABASE_URL")
    logger.info("making the SQLite file %s", path)
    path.touch(mode=0o644)


def run(engine: sa.Engine, connection: sa.Connection, options: dict[str, Any], progress: Progress) -> None:
    # No statement may go through `connection` before `configure`: it would turn transaction_per_migration off.
    on_postgresql = connection.dialect.name == "postgresql"
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=on_postgresql, **options)
    migration = context.get_context()
    migration._migrations_fn = progress.follow(migration._migrations_fn)  # noqa: SLF001 - there is no hook before a step
    moves_database = "destination_rev" in migration.opts  # upgrade, downgrade, stamp; others only read
    if on_postgresql:
        sa.event.listen(connection, "begin", lock.limit_time)
    else:
        # SQLite's own lock, taken by BEGIN IMMEDIATE, makes the others wait; one transaction holds the whole upgrade.
        connection.execution_options(reading=not moves_database)
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")  # rebuilding a table drops the old one
        driver.execute(f"PRAGMA busy_timeout = {lock.setting('MIGRATION_LOCK_WAIT') * 1000}")
    with ExitStack() as stack:
        if on_postgresql and moves_database:
            holder = stack.enter_context(lock.migration_lock(engine))
            stack.enter_context(lock.nothing_half_done(connection, holder))
        stack.enter_context(context.begin_transaction())
        if on_postgresql and moves_database:
            retries.run(context.run_migrations, connection, progress)
        else:
            context.run_migrations()


main()
