"""A revision that meets somebody's lock (SQLSTATE 55P03) is undone and tried again, for MIGRATION_LOCK_WAIT seconds.

Whoever comes later queues behind a statement that waits for a lock, so MIGRATION_LOCK_TIMEOUT ends its wait, and they
get their turn in the pause before the next try. Each try is a new transaction, for which the limits are set anew.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg2
import sqlalchemy as sa

from dop_be.failures import cause, words
from migrations.lock import SESSION, session, setting
from migrations.progress import Progress

LOCK_NOT_AVAILABLE = "55P03"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds
DOUBLINGS = 5  # until it is the longest one
MOST_TOLD = 3
# PostgreSQL does not say whose lock it was. These have locked what the statement names, the oldest first: that is true
# in any case, and one of them was in the way unless the statement locks more than it names.
HOLDERS = f"""
SELECT l.name, {SESSION}
FROM (
    SELECT pid, min(relname) AS name FROM pg_locks JOIN pg_class c ON c.oid = relation
    WHERE granted AND pid IS DISTINCT FROM pg_backend_pid() AND pg_table_is_visible(c.oid)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relname = ANY(:names)
    GROUP BY pid
) AS l LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY a.xact_start LIMIT {MOST_TOLD}
"""
logger = logging.getLogger("alembic.dop_be")


def run(migrations: Callable[[], None], connection: sa.Connection, progress: Progress) -> None:
    """Run the migrations; where one meets a lock, run it and those after it again after a pause.

    Raises:
        DBAPIError: any other error, at once; this one after MIGRATION_LOCK_WAIT seconds, and at once where a part of
            the revision is committed already.
    """
    ours = not connection.in_transaction()  # else nothing can be undone here without what its owner did before
    while True:
        try:
            migrations()
            return
        except (sa.exc.DBAPIError, psycopg2.Error) as error:
            if not ours or progress.in_parts or getattr(cause(error), "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            connection.rollback()
            progress.meet_lock(holders(connection, error))
            pause = next_pause(progress)
            if pause <= 0:
                raise
            if progress.locked == 1:
                announce(cause(error), progress)
        time.sleep(pause)


def next_pause(progress: Progress) -> float:
    """Return the seconds until the next try. The last one begins before MIGRATION_LOCK_WAIT is over: then 0 or less."""
    assert progress.waited_since is not None
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(progress.locked - 1, DOUBLINGS))
    pause: float = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads several migrations, hides nothing
    return min(pause, progress.waited_since + setting("MIGRATION_LOCK_WAIT") - time.monotonic())


def announce(error: BaseException, progress: Progress) -> None:
    told = f": {progress.holders}" if progress.holders else ""
    seconds = setting("MIGRATION_LOCK_WAIT")
    logger.info(
        "%s%s; trying again for up to %s s (MIGRATION_LOCK_WAIT)%s",
        *(progress.prefix(), words(error), seconds, told),
    )


def holders(connection: sa.Connection, error: Exception) -> str:
    """Return who has locked what the statement names, as far as that can be seen."""
    said = f"{getattr(error, 'statement', '')} {getattr(getattr(cause(error), 'diag', None), 'context', '')}"
    rows: list[Any] = []
    with suppress(sa.exc.ProgrammingError), connection.begin():  # views that somebody has closed to this role
        rows = list(connection.execute(sa.text(HOLDERS), {"names": re.findall(r"\w+", f"{said} {said.lower()}")}))
    return ", ".join(f"{row.name} is locked by {holder(row)}" for row in rows)


def holder(row: Any) -> str:
    if row.pid is None:
        return "a prepared transaction (pg_prepared_xacts)"
    return session(row) if row.usename else f"PostgreSQL process {row.pid}"
