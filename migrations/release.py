"""One release at a time, within limits, and what an operator is told when it fails."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import flask
import psycopg2.errors
import sqlalchemy as sa
from alembic.util import CommandError

LOCK_KEY = 0x646F705F6265  # "dop_be" in hexadecimal: no other program's advisory lock is ours by chance
LOCK_POLL_SECONDS = 0.2
SET_SOURCE = "SET LOCAL dop_be.source = 'migration'"  # what the history says of settings that a migration changes
DROP_EMPTY_VERSION_TABLE = """
DO $$ BEGIN
    IF to_regclass('alembic_version') IS NOT NULL AND NOT EXISTS (SELECT FROM alembic_version) THEN
        DROP TABLE alembic_version;
    END IF;
END $$
"""
logger = logging.getLogger("alembic.dop_be")


def setting(name: str) -> int:
    return int(flask.current_app.config[name])


def limits() -> dict[str, str]:
    """What bounds each transaction of a migration.

    lock_timeout keeps readers from queueing behind a waiting ALTER; statement_timeout ends a runaway;
    client_connection_check_interval ends the statement of a release that was killed, and the keepalives that of one
    whose machine is gone. What a role or database sets against idling would end the release that only waits its turn.
    """
    return {
        "lock_timeout": f"{setting('MIGRATION_LOCK_TIMEOUT')}s",
        "statement_timeout": f"{setting('MIGRATION_STATEMENT_TIMEOUT')}s",
        "client_connection_check_interval": "1s",
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "idle_in_transaction_session_timeout": "0",
        "transaction_timeout": "0",
    }


# For the transaction alone, so that nothing leaks through a pooler; a server too old for one of them goes without it.
SET_LIMITS = "SELECT set_config(name, (CAST(%s AS jsonb)) ->> name, true) FROM pg_settings WHERE name = ANY(%s)"


def limit_time(connection: sa.Connection) -> None:
    connection.exec_driver_sql(SET_LIMITS, (flask.json.dumps(limits()), list(limits())))
    connection.exec_driver_sql(SET_SOURCE)


def end_with_this_process(connection: sa.Connection) -> None:
    """Let the server end also what runs outside a transaction, CREATE INDEX CONCURRENTLY, when this process is killed.

    It is the session's setting, so it is made only where the session is ours: behind a pooler the server process is
    another than the one that libpq was told of.
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, '1s', false) FROM pg_settings"
            " WHERE name = 'client_connection_check_interval' AND pg_backend_pid() = %s",
            (driver.info.backend_pid,),
        )
    driver.commit()


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
        limit_time(connection)
        name = f"release on {socket.gethostname()[:36]}, process {os.getpid()}"  # PostgreSQL keeps 63 bytes
        connection.execute(sa.text("SELECT set_config('application_name', :name, true)"), {"name": name})
        yield


def lock_holder(connection: sa.Connection) -> str:
    """Who holds the release lock, for the person who waits."""
    row = connection.execute(
        sa.text(
            "SELECT a.pid, a.usename, coalesce(host(a.client_addr), 'a local socket') AS address,"
            " coalesce(a.application_name, '') AS program, to_char(a.xact_start, 'HH24:MI:SS TZ') AS since"
            " FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = current_database()"
            " AND (l.classid::bigint << 32) + l.objid::bigint = :key"
        ),
        {"key": LOCK_KEY},
    ).first()
    if row is None:
        return "another release"
    program = row.program if row.program.startswith("release ") else "another release"
    since = f", since {row.since}" if row.since else ""
    return f"{program}: PostgreSQL process {row.pid} of {row.usename} from {row.address}{since}"


@contextmanager
def nothing_half_done(connection: sa.Connection) -> Iterator[None]:
    """Take back the one thing that Alembic commits before the first revision, where that fails: its empty table."""
    ours = not connection.in_transaction()
    try:
        yield
    except (sa.exc.DBAPIError, CommandError):
        with suppress(sa.exc.DBAPIError):  # the error to tell is the first one
            if ours:
                connection.rollback()
                connection.exec_driver_sql(DROP_EMPTY_VERSION_TABLE)
                connection.commit()
        raise


def explained(error: Exception) -> str:
    """What the database says, and which limit it met."""
    cause = getattr(error, "orig", None)
    undone = "; this revision was undone, and the upgrade can be run again"
    if isinstance(cause, psycopg2.errors.LockNotAvailable):
        return f"{one_line(error)} after {limits()['lock_timeout']} (MIGRATION_LOCK_TIMEOUT){undone}"
    if isinstance(cause, psycopg2.errors.QueryCanceled):
        return f"{one_line(error)} after {limits()['statement_timeout']} (MIGRATION_STATEMENT_TIMEOUT){undone}"
    if "database is locked" in str(cause):
        waited = f"waited for {setting('MIGRATION_LOCK_WAIT')} s (MIGRATION_LOCK_WAIT)"
        return f"another process writes to {flask.current_app.config['SQLALCHEMY_DATABASE_URI'].database}: {waited}"
    return one_line(error)


def missing_right(error: Exception, url: sa.URL) -> str:
    """What this role may not do, and the statement that lets it."""
    role = f'"{url.username}"' if url.username else "this role"
    schema = re.search(r"permission denied for schema (\S+)", one_line(error))
    grant = f"GRANT USAGE, CREATE ON SCHEMA {schema[1]} TO {role};" if schema else "what grants it"
    return f"{one_line(error)}: role {role} lacks this right; an administrator must run, in this database: {grant}"


def one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
