"""The rows of the windows: each change to one is recorded."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from ..database import along
from ..extensions import Base
from ..fields import with_timestamps
from ..history import service as history
from .models import MaintenanceWindow
from .schedule import Occurrence, Window

TABLE = Base.metadata.tables[MaintenanceWindow.__tablename__]


def add(session: Session, window: Window) -> None:
    """Store a new window."""
    along(session, sqlalchemy.insert(TABLE).values(asdict(window)))
    _record(session, [(None, window)])


def change(session: Session, before: Window, after: Window) -> None:
    """Store a window in the place of itself."""
    along(session, sqlalchemy.update(TABLE).where(TABLE.c.id == before.id).values(asdict(after)))
    _record(session, [(before, after)])


def end(session: Session, ended: Sequence[Occurrence], now: datetime) -> None:
    """End these occurrences: a window that recurs begins again at its next time, any other is deleted."""
    becomes = after(ended, now)
    delete(session, [found.window for found in ended if becomes[found.window.id] is None])
    recurring = [identifier for identifier, window in becomes.items() if window is not None]
    if recurring:
        along(session, sqlalchemy.update(TABLE).where(TABLE.c.id.in_(recurring)).values(ended_at=now))
    _record(session, [(found.window, becomes[found.window.id]) for found in ended if becomes[found.window.id]])


def after(ended: Iterable[Occurrence], now: datetime) -> dict[uuid.UUID, Window | None]:
    """Return what becomes of the windows of these occurrences, by id; None: they are deleted."""
    windows = [occurrence.window for occurrence in ended]
    return {window.id: replace(window, ended_at=now) if window.rrule else None for window in windows}


def delete(session: Session, windows: Collection[Window]) -> None:
    """Delete windows."""
    if windows:
        along(session, sqlalchemy.delete(TABLE).where(TABLE.c.id.in_([window.id for window in windows])))
    _record(session, [(window, None) for window in windows])


def _record(session: Session, changed: Iterable[tuple[Window | None, Window | None]]) -> None:
    """Record windows before and after a change; None: not there."""
    history.record(session, "window", map(_sides, changed))


def _sides(changed: tuple[Window | None, Window | None]) -> history.Sides:
    before, after = (recordable(window) if window else None for window in changed)
    [key, *_] = [str(window.id) for window in changed if window]
    return key, before, after


def recordable(window: Window) -> dict[str, Any]:
    """Return a window's fields but the id, as JSON shows them."""
    return with_timestamps({name: value for name, value in asdict(window).items() if name != "id"})
