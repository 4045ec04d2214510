"""Reads the state of the database, and how far it is migrated, in one consistent view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Engine, MetaData, String, Table, func, inspect, select, true
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError

from ..access.models import IN_FORCE, ApiToken
from ..access.tokens import Token, with_implied
from ..database import lacks_schema, reading
from ..settings.models import SystemSettings, shown
from .models import LiveState
from .snapshot import Snapshot, build

ALEMBIC_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32)))
# One statement, so that the row is there also where there are no settings.
STATE = select(
    select(func.max(ALEMBIC_VERSION.c.version_num)).scalar_subquery().label("alembic_revision"),
    LiveState.version,
    *shown(),
).select_from(LiveState.__table__.outerjoin(SystemSettings.__table__, true()))
TOKENS = select(ApiToken.id, ApiToken.name, ApiToken.digest, ApiToken.scopes, ApiToken.expires_at).where(IN_FORCE)


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
            state = connection.execute(STATE).mappings().one_or_none()
            tokens = connection.execute(TOKENS).mappings().all()
    except DBAPIError as error:
        if not lacks_schema(error):
            raise
        return Reading(alembic_revision(engine), None)
    if state is None:
        return Reading(alembic_revision(engine), None)
    return Reading(state["alembic_revision"], _snapshot(state, tokens))


def alembic_revision(engine: Engine) -> str | None:
    """The Alembic revision that the database is at, None where it was never migrated."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(ALEMBIC_VERSION.name):
            return None
        revision: str | None = connection.scalar(select(func.max(ALEMBIC_VERSION.c.version_num)))
        return revision


def _snapshot(state: RowMapping, tokens: Sequence[RowMapping]) -> Snapshot | None:
    if state["id"] is None:
        return None
    settings: dict[str, Any] = {column.key: state[column.key] for column in shown()}
    return build(state["version"], settings, {row["id"]: _token(row) for row in tokens})


def _token(row: RowMapping) -> Token:
    return Token(row["name"], row["digest"], with_implied(row["scopes"]), row["expires_at"])
