"""One migration at a time, within limits that keep it out of production's way."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import flask
import sqlalchemy as sa
from alembic.util import CommandError

LOCK_KEY = 0x646F705F6265  # "dop_be" in hexadecimal: no other program's advisory lock is ours by chance
LOCK_POLL_SECONDS = 0.2
SET_SOURCE = "SET LOCAL dop_be.source = 'migration'"  # what the history says of settings that a migration changes
# In the one schema that is written to: another program's table of that name may stand in the next one of the path.
VERSION_TABLE = "to_regclass(quote_ident(current_schema()) || '.alembic_version')"
DROP_EMPTY_VERSION_TABLE = f"""
DO $$ BEGIN
    IF {VERSION_TABLE} IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM alembic_version) THEN
            DROP TABLE alembic_version;
        END IF;
    END IF;
END $$
"""
# Whose session it is. Of another role's, who may not read all (pg_read_all_stats) sees neither address nor time.
SESSION = (
    "a.pid, a.usename, coalesce(a.application_name, '') AS program, to_char(a.xact_start, 'HH24:MI:SS TZ') AS since,"
    " CASE WHEN a.client_port = -1 THEN 'a local socket' ELSE host(a.client_addr) END AS address"
)
logger = logging.getLogger("alembic.dop_be")


def setting(name: str) -> int:
    return int(flask.current_app.config[name])


def limits() -> dict[str, str]:
    """Return the settings that bound each transaction of a migration.

    lock_timeout keeps readers from queueing behind a waiting ALTER; statement_timeout ends a runaway;
    client_connection_check_interval ends the statement of a migration that was killed, and the keepalives that of one
    whose machine is gone. Idle timeouts set on the role would kill a migration that is waiting for the lock.
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
def migration_lock(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold this database's one migration lock during the block; yields the connection that holds it.

    A second, READ COMMITTED connection polls for a transaction-level lock: waiting inside pg_advisory_lock would hold a
    snapshot that CREATE INDEX CONCURRENTLY waits for, and a session-level lock would leak through a pooler.

    Raises:
        CommandError: another migration still holds it after MIGRATION_LOCK_WAIT seconds.
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
        name = f"migration on {socket.gethostname()[:36]}, process {os.getpid()}"  # PostgreSQL keeps 63 bytes
        connection.execute(sa.text("SELECT set_config('application_name', :name, true)"), {"name": name})
        yield connection


def lock_holder(connection: sa.Connection) -> str:
    """Return who holds the migration lock, for the person who waits."""
    row = connection.execute(
        sa.text(
            f"SELECT {SESSION} FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " JOIN pg_database d ON d.oid = l.database"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = current_database()"
            " AND (l.classid::bigint << 32) + l.objid::bigint = :key"
        ),
        {"key": LOCK_KEY},
    ).first()
    if row is None:
        return "another migration"
    program = row.program if row.program.startswith("migration ") else "another migration"
    return f"{program}: {session(row)}"


def session(row: Any) -> str:
    """Return a row with the columns of SESSION in words."""
    address = f" from {row.address}" if row.address else ""
    since = f", since {row.since}" if row.since else ""
    return f"PostgreSQL process {row.pid} of {row.usename}{address}{since}"


@contextmanager
def nothing_half_done(connection: sa.Connection, lock: sa.Connection) -> Iterator[None]:
    """Take back the one thing that Alembic commits before the first revision, where that fails: its empty table."""
    ours = not connection.in_transaction() and lock.scalar(sa.text(f"SELECT {VERSION_TABLE} IS NULL"))
    try:
        yield
    except BaseException:
        with suppress(sa.exc.DBAPIError):  # the error to tell is the first one
            if ours:
                connection.rollback()
                connection.exec_driver_sql(DROP_EMPTY_VERSION_TABLE)
                connection.commit()
        raise
