"""What triggers do on PostgreSQL, done for SQLite: record each change in its own transaction, and raise the version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, event, inspect, update
from sqlalchemy.orm import Mapper, object_session

from ..live.models import LiveState
from .models import SystemSettings


@event.listens_for(SystemSettings, "before_update")
def _record(mapper: Mapper[Any], connection: Connection, row: SystemSettings) -> None:
    session = object_session(row)
    if connection.dialect.name != "sqlite" or session is None or not session.is_modified(row):
        return
    now = datetime.now(UTC)
    if inspect(row).attrs.is_maintain.history.has_changes():
        row.maintenance_since = now
    row.revision += 1
    row.updated_at = now
    row.updated_by = session.info["attribution"].actor
    connection.execute(update(LiveState).values(version=LiveState.version + 1))
