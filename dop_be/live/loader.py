"""Reads the state of the database, and how far it is migrated, in one consistent view."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    inspect,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ..access import tokens
from ..access.models import NOT_REVOKED, ApiToken
from ..columns import database_now, rows
from ..database import lacks_schema, reading
from ..maintenance.models import WINDOWS
from ..maintenance.schedule import Window, is_sound
from ..settings.models import SHOWN, SystemSettings
from ..version import LiveState
from .last_state import Identity
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
    ApiToken.id, ApiToken.name, ApiToken.digest, ApiToken.scopes, ApiToken.created_at, ApiToken.expires_at
).where(NOT_REVOKED)
# The columns are those of Mark. Without a settings row there is none: nothing can be loaded.
MARK = select(LiveState.version, ALEMBIC_REVISION, SystemSettings.revision, row_version()).select_from(
    LiveState.__table__.join(SystemSettings.__table__, true())
)
# One statement: one view of the database, and one round trip. The row is there also where there are no settings.
STATE = select(
    database_now(), LiveState.version, ALEMBIC_REVISION, row_version(), rows(TOKENS), rows(WINDOWS), *SHOWN
).select_from(LiveState.__table__.outerjoin(SystemSettings.__table__, true()))
# The checkpoint's timeline is the old one for some time after a promotion.
IDENTITY = text("""
SELECT (pg_control_system()).system_identifier, CASE WHEN pg_is_in_recovery()
    THEN greatest((pg_control_checkpoint()).timeline_id, (SELECT max(received_tli) FROM pg_stat_wal_receiver))
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer END
""")
NAMES = [column.key for column in SHOWN]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The state as it came from the database, not yet made a snapshot of.

    `settings` is None where their row is missing; `clock_offset` is that of `Reading`.
    """

    alembic_revision: str | None
    settings: Mapping[str, Any] | None = None
    version: int = 0
    row: str | None = None
    tokens: Sequence[Mapping[str, Any]] = ()
    windows: Sequence[Mapping[str, Any]] = ()
    clock_offset: float | None = None


@dataclass(frozen=True)
class Reading:
    """What one look at the database found; `snapshot` is None where the settings row, or its table, is not there.

    `clock_offset` is how many seconds the database's clock is ahead of this host's, at least; None: it did not say.
    """

    alembic_revision: str | None
    snapshot: Snapshot | None
    clock_offset: float | None = None


def read(engine: Engine) -> Reading:
    """Look at the database once, within the time limit.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer.
    """
    try:
        with reading(engine) as connection:
            found = look(connection)
    except DBAPIError as error:
        if not lacks_schema(error):
            raise
        return Reading(alembic_revision(engine), None)
    return understand(found)


def look(connection: Connection) -> Found:
    """Read the state, in a transaction that may be open already. It takes only as long as the database needs."""
    asked_at = time.time()
    state = connection.execute(STATE).one_or_none()
    answered_at = time.time()
    if state is None:
        return Found(connection.scalar(select(ALEMBIC_REVISION)))
    clock, version, alembic, row, known, windows, *values = state
    # The database looked at its clock some time between the two; what they leave open is no difference.
    offset = min(0.0, clock.timestamp() - asked_at) + max(0.0, clock.timestamp() - answered_at)
    settings = dict(zip(NAMES, values, strict=True))
    present = settings if settings["id"] is not None else None
    return Found(alembic, present, version, row, known, windows, round(offset, 3) + 0.0)  # no -0.0


def understand(found: Found) -> Reading:
    """Make a snapshot of what was read.

    Raises:
        ValueError, OverflowError: SQL left what Python cannot hold.
    """
    if found.settings is None:
        return Reading(found.alembic_revision, None, found.clock_offset)
    mark = Mark(found.version, found.alembic_revision, found.settings["revision"], found.row)
    windows = [_window(window) for window in found.windows]
    snapshot = build(mark, found.settings, tokens=map(tokens.load, found.tokens), windows=windows)
    return Reading(found.alembic_revision, snapshot, found.clock_offset)


def identify(engine: Engine) -> Identity | None:
    """Return which server answers; None where it does not say so: SQLite, or a function that this role may not call.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer.
    """
    if engine.dialect.name == "sqlite":
        return None
    try:
        with reading(engine) as connection:
            system, timeline = connection.execute(IDENTITY).one()
    except DBAPIError as error:
        if error.connection_invalidated or getattr(error.orig, "pgcode", None) is None:
            raise
        return None  # it answered: what is not PostgreSQL to the last function can have no identity
    return Identity(str(system), timeline)


def read_mark(engine: Engine) -> Mark | None:
    """Return where the database stands, None where it has no state to load; raises as `read` does."""
    try:
        with reading(engine) as connection:
            return as_mark(connection.execute(MARK).all())
    except DBAPIError as error:
        if not lacks_schema(error):
            raise
    return None


def as_mark(found: Sequence[Sequence[Any]]) -> Mark | None:
    """Return the mark in what MARK selects."""
    return Mark(*found[0]) if found else None


def alembic_revision(engine: Engine) -> str | None:
    """Return the Alembic revision that the database is at, None where it was never migrated."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(ALEMBIC_VERSION.name):
            return None
        revision: str | None = connection.scalar(select(ALEMBIC_REVISION))
        return revision


def _window(row: Mapping[str, Any]) -> Window:
    window = Window(**row)
    if not is_sound(window):
        _complain(window)
    return window


@cache
def _complain(window: Window) -> None:
    """Log it once, not with every reading."""
    logger.error("window %s has a time zone or rule that cannot be read: only its first time counts", window.id)
