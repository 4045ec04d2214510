"""Reads the state of the database, and how far it is migrated, in one consistent view."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
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
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ..access import tokens
from ..access.models import NOT_REVOKED, ApiToken
from ..columns import rows
from ..database import lacks_schema, reading
from ..maintenance.models import MaintenanceWindow
from ..maintenance.schedule import Window, is_sound
from ..settings.models import SHOWN, SystemSettings
from ..version import LiveState
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
WINDOWS = select(*(MaintenanceWindow.__table__.c[field.name] for field in fields(Window))).order_by(
    MaintenanceWindow.starts_at, MaintenanceWindow.id
)
# The columns are those of Mark. Without a settings row there is none: nothing can be loaded.
MARK = select(LiveState.version, ALEMBIC_REVISION, SystemSettings.revision, row_version()).select_from(
    LiveState.__table__.join(SystemSettings.__table__, true())
)
# One statement: one view of the database, and one round trip. The row is there also where there are no settings.
STATE = select(LiveState.version, ALEMBIC_REVISION, row_version(), rows(TOKENS), rows(WINDOWS), *SHOWN).select_from(
    LiveState.__table__.outerjoin(SystemSettings.__table__, true())
)
NAMES = [column.key for column in SHOWN]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What one look at the database found; `snapshot` is None where the settings row, or its table, is not there."""

    alembic_revision: str | None
    snapshot: Snapshot | None


def read(engine: Engine) -> Reading:
    """Look at the database once, within the time limit.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer.
    """
    try:
        with reading(engine) as connection:
            return read_within(connection)
    except DBAPIError as error:
        if not lacks_schema(error):
            raise
    return Reading(alembic_revision(engine), None)


def read_within(connection: Connection) -> Reading:
    """Do what `read` does, in a transaction that is open already."""
    state = connection.execute(STATE).one_or_none()
    if state is None:
        return Reading(connection.scalar(select(ALEMBIC_REVISION)), None)
    version, alembic, row, known, windows, *values = state
    settings = dict(zip(NAMES, values, strict=True))
    if settings["id"] is None:
        return Reading(alembic, None)
    snapshot = build(
        Mark(version, alembic, settings["revision"], row),
        settings,
        tokens=map(tokens.load, known),
        windows=[_window(window) for window in windows],
    )
    return Reading(alembic, snapshot)


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


def _window(row: dict[str, Any]) -> Window:
    window = Window(**row)
    if not is_sound(window):
        _complain(window)
    return window


@cache
def _complain(window: Window) -> None:
    """Log it once, not with every reading."""
    logger.error("window %s has a time zone or rule that cannot be read: only its first time counts", window.id)
