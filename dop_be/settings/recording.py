"""What triggers do on PostgreSQL, done for SQLite: record each change in its own transaction; and its log line."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, event, func, insert, inspect, select
from sqlalchemy.orm import Mapper, Session, object_session

from ..version import raise_version
from .history import SettingsHistory
from .models import SystemSettings, writable
from .schemas import dump

logger = logging.getLogger(__name__)


@event.listens_for(SystemSettings, "before_update")
def _record(mapper: Mapper[Any], connection: Connection, row: SystemSettings) -> None:
    session = object_session(row)
    if connection.dialect.name != "sqlite" or session is None:
        return
    before, after = _values(row)
    changes = {name: {"from": before[name], "to": after[name]} for name in after if before[name] != after[name]}
    if not changes:
        return
    by = session.info["attribution"]
    now = datetime.now(UTC)
    if "is_maintain" in changes:
        row.maintenance_since = now
    latest = connection.scalar(select(func.max(SettingsHistory.revision))) or 0  # ahead of a row inserted anew
    row.revision = max(row.revision, latest) + 1
    row.updated_at = now
    row.updated_by = by.actor
    entry = {"reason": by.reason, "request_id": by.request_id, "changes": changes, "values": after}
    connection.execute(
        insert(SettingsHistory).values(
            revision=row.revision, changed_at=now, changed_by=by.actor, source=by.source, **entry
        )
    )
    raise_version(connection)


def _values(row: SystemSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings before and after, as JSON shows them."""
    state = inspect(row)
    after = {column.key: getattr(row, column.key) for column in writable()}
    before = {name: (state.attrs[name].history.deleted or [value])[0] for name, value in after.items()}
    return dump(before), dump(after)


@event.listens_for(SystemSettings, "after_update")
def _note(mapper: Mapper[Any], connection: Connection, row: SystemSettings) -> None:
    """Keep for the log which settings changed; not their values, which may be nobody's business."""
    session, state = object_session(row), inspect(row)
    changed = [column.key for column in writable() if state.attrs[column.key].history.has_changes()]
    if session is not None and changed:
        session.info["changed"] = {"revision": row.revision, "changed": changed}


@event.listens_for(Session, "after_commit")
def _tell(session: Session) -> None:
    if changed := session.info.pop("changed", None):
        logger.info("settings changed", extra={**changed, **asdict(session.info["attribution"])})


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop("changed", None)
