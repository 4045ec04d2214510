"""Reads the state of the database, and how far it is migrated, in one consistent view."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    func,
    inspect,
    literal_column,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ..access import tokens
from ..access.models import NOT_REVOKED, ApiToken
from ..columns import database_now, rows
from ..database import reading
from ..deadline import time_limit
from ..failures import lacks_schema
from ..history.model import Change
from ..maintenance.models import COMPONENTS, WINDOWS
from ..maintenance.schedule import Window, is_sound
from ..settings.models import SHOWN, SystemSettings
from ..version import LiveState
from .clock import host, steady
from .snapshot import Mark, Snapshot, build


class row_version(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """What changes with every UPDATE of the settings row, whatever triggers are off; null where there is none."""

    type = String()
    inherit_cache = True


@compiles(row_version, "postgresql")
def _row_version_postgresql(element: row_version, compiler: Any, **kw: Any) -> str:
    return f"{SystemSettings.__tablename__}.xmin::text"


@compiles(row_version, "sqlite")
def _row_version_sqlite(element: row_version, compiler: Any, **kw: Any) -> str:
    return "NULL"


ALEMBIC_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32)))
ALEMBIC_REVISION = select(ALEMBIC_VERSION.c.version_num).limit(literal_column("1")).scalar_subquery()
TOKENS = select(
    ApiToken.id,
    ApiToken.name,
    ApiToken.digest,
    ApiToken.scopes,
    ApiToken.components,
    ApiToken.created_at,
    ApiToken.expires_at,
).where(NOT_REVOKED)
NAMES = [column.key for column in SHOWN]

logger = logging.getLogger(__name__)


class replay_lag(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """How many seconds a replica is behind its primary, as far as it can tell; null on a primary."""

    type = Float()
    inherit_cache = True


@compiles(replay_lag, "postgresql")
def _replay_lag_postgresql(element: replay_lag, compiler: Any, **kw: Any) -> str:
    # While nothing happens on the primary the last transaction is old, and the replica is not behind: it has replayed
    # all that it received, and something receives. (PostgreSQL, "Recovery Information Functions")
    return """CASE WHEN pg_is_in_recovery() THEN CASE
        WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()
            AND (SELECT pid IS NOT NULL FROM pg_stat_get_wal_receiver()) THEN 0
        ELSE greatest(0, extract(epoch FROM
            clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())))
        END END::double precision"""


@compiles(replay_lag, "sqlite")
def _replay_lag_sqlite(element: replay_lag, compiler: Any, **kw: Any) -> str:
    return "NULL"


@dataclass(frozen=True)
class Found:
    """The state as it came from the database, not yet made a snapshot of.

    `settings` is None where their row is missing; `now` is the time on the database's clock, and the last four are
    those of `Reading`.
    """

    alembic_revision: str | None
    settings: Mapping[str, Any] | None = None
    version: int = 0
    row: str | None = None
    tokens: Sequence[Mapping[str, Any]] = ()
    windows: Sequence[Mapping[str, Any]] = ()
    components: Sequence[Mapping[str, Any]] = ()
    now: datetime | None = None
    clock_offset: float | None = None
    ours: float = 0.0
    last_change: int | None = None
    lag: float | None = None


@dataclass(frozen=True)
class Reading:
    """What one look at the database found; `snapshot` is None where the settings row, or its table, is not there.

    `clock_offset` is how many seconds the database's clock is ahead of this host's, at least; None: it did not say.
    `ours` is what `clock.host` was then.
    `last_change` is the id of the newest entry of the history, `lag` how many seconds a replica is behind its primary,
    None on a primary; `fault` what is missing of the schema.
    """

    alembic_revision: str | None
    snapshot: Snapshot | None
    clock_offset: float | None = None
    ours: float = 0.0
    last_change: int | None = None
    lag: float | None = None
    fault: BaseException | None = None


def read(engine: Engine) -> Reading:
    """Look at the database once, within the time limit.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer.
    """
    with reading(engine) as connection:
        return read_through(connection)


def read_through(connection: Connection, seconds: float | None = None) -> Reading:
    """Look at the database once, through a reader's connection, within so many seconds; raises as `read` does."""
    with time_limit(seconds):
        try:
            found = look(connection)
        except DBAPIError as error:
            if not lacks_schema(error):
                raise
            return Reading(alembic_revision(connection), None, fault=error)
    return understand(found)


def look(connection: Connection) -> Found:
    """Read the state, in a transaction that may be open already. It takes only as long as the database needs."""
    asked_at = steady()
    state = connection.execute(STATE).one_or_none()
    answered_at, ours = steady(), host()
    if state is None:
        return Found(connection.scalar(select(ALEMBIC_REVISION)))
    clock, version, alembic, row, known, windows, components, last_change, lag, *values = state
    # The database read its clock some time between the two: a time between them counts as no difference.
    ahead = clock.timestamp() - ours
    offset = min(0.0, ahead - asked_at) + max(0.0, ahead - answered_at)
    settings = dict(zip(NAMES, values, strict=True))
    present = settings if settings["id"] is not None else None
    measured = round(offset, 3) + 0.0  # no -0.0
    return Found(alembic, present, version, row, known, windows, components, clock, measured, ours, last_change, lag)


def look_at_tokens(connection: Connection) -> tuple[Sequence[Mapping[str, Any]], datetime]:
    """Read the tokens alone, and the time on the database's clock, where the whole state cannot be read."""
    known, now = connection.execute(select(rows(TOKENS), database_now())).one()
    return known, now


def understand(found: Found) -> Reading:
    """Make a snapshot of what was read.

    Raises:
        ValueError, OverflowError: SQL left what Python cannot hold.
    """
    if found.settings is None:
        return Reading(found.alembic_revision, None, found.clock_offset, found.ours, found.last_change, found.lag)
    mark = Mark(found.version, found.alembic_revision, found.settings["revision"], found.row)
    windows = [_window(window) for window in found.windows]
    snapshot = build(
        mark,
        found.settings,
        tokens=map(tokens.load, found.tokens),
        windows=windows,
        components=found.components,
    )
    return Reading(found.alembic_revision, snapshot, found.clock_offset, found.ours, found.last_change, found.lag)


def read_mark(connection: Connection) -> tuple[Mark | None, float | None]:
    """Return where the database stands, None where it has no state to load, and the `lag`; raises as `read` does."""
    with time_limit():
        try:
            found = connection.execute(MARK).first()
        except DBAPIError as error:
            if not lacks_schema(error):
                raise
            found = None
    return (Mark(*found[:-1]), found[-1]) if found else (None, None)


def alembic_revision(connection: Connection) -> str | None:
    """Return the Alembic revision that the database is at, None where it was never migrated."""
    if not inspect(connection).has_table(ALEMBIC_VERSION.name):
        return None
    revision: str | None = connection.scalar(select(ALEMBIC_REVISION))
    return revision


# The columns are those of Mark. Without a settings row there is none: nothing can be loaded.
MARK = select(LiveState.version, ALEMBIC_REVISION, SystemSettings.revision, row_version(), replay_lag()).select_from(
    LiveState.__table__.join(SystemSettings.__table__, true())
)
# One statement: one view of the database, and one round trip. The row is there also where there are no settings.
STATE = select(
    database_now(),
    LiveState.version,
    ALEMBIC_REVISION,
    row_version(),
    rows(TOKENS),
    rows(WINDOWS),
    rows(COMPONENTS),
    select(func.max(Change.id)).scalar_subquery(),
    replay_lag(),
    *SHOWN,
).select_from(LiveState.__table__.outerjoin(SystemSettings.__table__, true()))


def _window(row: Mapping[str, Any]) -> Window:
    window = Window(**row)
    if not is_sound(window):
        _complain(window)
    return window


@cache
def _complain(window: Window) -> None:
    """Log it once, not with every reading."""
    logger.error("window %s has a time zone or rule that cannot be read: only its first time counts", window.id)
