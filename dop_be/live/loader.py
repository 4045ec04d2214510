"""Reads the state of the database, and how far it is migrated, in one consistent view."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    exists,
    inspect,
    literal_column,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError

from ..access.models import IN_FORCE, ApiToken
from ..access.tokens import Token, with_implied
from ..columns import rows
from ..database import lacks_schema, reading
from ..maintenance.bypass.models import Bypass
from ..maintenance.models import MaintenanceWindow
from ..maintenance.schedule import Window, is_sound
from ..settings.models import SystemSettings, shown
from ..version import LiveState
from .snapshot import Snapshot, build

Mark = tuple[int, str]  # the version and the Alembic revision: what both are for, a loaded state is current

ALEMBIC_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32)))
ALEMBIC_REVISION = select(ALEMBIC_VERSION.c.version_num).limit(literal_column("1")).scalar_subquery()
TOKENS = select(ApiToken.id, ApiToken.name, ApiToken.digest, ApiToken.scopes, ApiToken.expires_at).where(IN_FORCE)
BYPASSES = select(Bypass.digest, Bypass.expires_at)
WINDOWS = select(*MaintenanceWindow.__table__.columns).order_by(MaintenanceWindow.starts_at, MaintenanceWindow.id)
# One statement: one view of the database, and one round trip. The row is there also where there are no settings.
STATE = select(ALEMBIC_REVISION, LiveState.version, rows(TOKENS), rows(BYPASSES), rows(WINDOWS), *shown()).select_from(
    LiveState.__table__.outerjoin(SystemSettings.__table__, true())
)
# No row where there are no settings: TRUNCATE raises no version.
MARK = select(LiveState.version, ALEMBIC_REVISION).where(exists().select_from(SystemSettings))
NAMES = [column.key for column in shown()]

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
    """`read`, in a transaction that is open already."""
    state = connection.execute(STATE).one_or_none()
    if state is None:
        return Reading(connection.scalar(select(ALEMBIC_REVISION)), None)
    alembic_revision, version, tokens, bypasses, windows, *values = state
    settings = dict(zip(NAMES, values, strict=True))
    if settings["id"] is None:
        return Reading(alembic_revision, None)
    snapshot = build(
        version,
        settings,
        tokens={identifier: _token(*rest) for identifier, *rest in tokens},
        bypasses=dict(bypasses),
        windows=[_window(row) for row in windows],
        now=datetime.now(UTC),
    )
    return Reading(alembic_revision, snapshot)


def read_mark(engine: Engine) -> Mark | None:
    """What the database is at, None where it has no state to load; raises as `read` does."""
    try:
        with reading(engine) as connection:
            return as_mark(connection.execute(MARK).all())
    except DBAPIError as error:
        if not lacks_schema(error):
            raise
    return None


def as_mark(rows: Sequence[Sequence[Any]]) -> Mark | None:
    """The mark in what MARK selects."""
    return (rows[0][0], rows[0][1]) if rows else None


def alembic_revision(engine: Engine) -> str | None:
    """The Alembic revision that the database is at, None where it was never migrated."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(ALEMBIC_VERSION.name):
            return None
        revision: str | None = connection.scalar(select(ALEMBIC_REVISION))
        return revision


def _token(name: str, digest: str, scopes: str, expires_at: datetime | None) -> Token:
    return Token(name, digest, with_implied(scopes), expires_at)


def _window(row: tuple[Any, ...]) -> Window:
    window = Window(*row)
    if not is_sound(window):
        _complain(window)
    return window


@cache
def _complain(window: Window) -> None:
    """Say it once, not with every reading."""
    logger.error("window %s has a time zone or rule that cannot be read: only its first time counts", window.id)
