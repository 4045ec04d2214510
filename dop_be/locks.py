"""Who holds a lock on the settings, in words."""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from .errors import printable
from .extensions import Base
from .sentences import LOCKED

# The sessions that have locked a table of ours or rows of it, longest first. A session that waits itself comes last,
# and only where it waits for a whole table: other waits stop nobody. A lock of rows that nobody waits for shows as one
# of the table. Reading, ANALYZE and VACUUM are in no write's way. What other roles do is hidden from this one unless it
# is in pg_monitor: their start is null then.
HOLDER = text("""
SELECT held.pid, coalesce(activity.usename, prepared.owner), activity.application_name, prepared.gid, to_char(
    coalesce(activity.xact_start, prepared.prepared) AT TIME ZONE 'UTC',
    CASE WHEN coalesce(activity.xact_start, prepared.prepared) > clock_timestamp() - interval '12 hours'
        THEN 'HH24:MI:SS' ELSE 'YYYY-MM-DD HH24:MI:SS' END
)
FROM pg_catalog.pg_locks AS held
JOIN pg_catalog.pg_class AS class ON class.oid = held.relation
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = held.pid
LEFT JOIN pg_catalog.pg_prepared_xacts AS prepared ON held.pid IS NULL AND EXISTS (
    SELECT FROM pg_catalog.pg_locks AS own
    WHERE own.virtualtransaction = held.virtualtransaction AND own.transactionid = prepared.transaction
)
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS other WHERE other.pid = held.pid AND NOT other.granted) AS waits
) AS state
WHERE held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    AND namespace.nspname = current_schema() AND class.relname = ANY (:tables)
    AND held.pid IS DISTINCT FROM pg_backend_pid()
    AND CASE WHEN waits THEN held.mode = 'AccessExclusiveLock'
        ELSE held.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock') END
ORDER BY waits, coalesce(activity.xact_start, prepared.prepared) NULLS LAST, held.pid
LIMIT 1
""")


def holder(connection: Connection) -> str | None:
    """Return which other session has had a lock for longest on our tables or rows of them, in words.

    None where there is none by now, or the server does not tell.

    Args:
        connection: in autocommit, not the one that waited, whose transaction is gone.
    """
    try:
        found = connection.execute(HOLDER, {"tables": [*Base.metadata.tables, "alembic_version"]}).one_or_none()
    except SQLAlchemyError:
        return None
    if found is None:
        return None
    pid, user, program, prepared, since = found
    said = f"the prepared transaction {prepared}" if prepared else f"PostgreSQL process {pid}"
    said += f" of {user}" if user else ""
    said += f" ({program})" if program else ""
    return printable(f"{said}, since {since} UTC" if since else said)


def locked(holder: str | None) -> str:
    """Return the sentence for a wait for a lock that was too long, with the words of `holder`."""
    if holder is None:
        return LOCKED
    return (
        f"Another session holds a lock on the settings: {holder}; end its transaction, or try again when it has ended."
    )
