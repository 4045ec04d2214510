"""What a write knows of the windows: expanded before it takes the lock, since that takes its time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..columns import database_now, rows
from ..database import Author, reading, unavailable, writing
from ..extensions import db
from ..settings import service as settings
from ..settings.service import Values
from ..version import LiveState
from .models import WINDOWS
from .schedule import MOST_WINDOWS, Expanded, Occurrence, Window, expand_all, midnight

T = TypeVar("T")
TRIES = 3  # to take the lock before anything has changed again
A_SECOND = 1_000  # windows, which a write may take longer; SQL may have planned thousands
# In one row, which is there also where the database has no version.
SEEN = select(database_now(), select(LiveState.version).scalar_subquery())


@dataclass(frozen=True)
class Known:
    """The windows at a version of the database, expanded.

    `now` is the time on its clock, `took` the seconds that it took to answer.
    """

    version: int | None
    now: datetime
    took: float
    windows: Mapping[uuid.UUID, Window]
    expanded: Expanded

    def open_now(self) -> list[Occurrence]:
        """Return the occurrences that are open."""
        return [occurrence for occurrence in self.expanded.occurrences if occurrence.is_open(self.now)]

    def over(self) -> list[Window]:
        """Return the windows that will never be open again."""
        alive = {found.window.id for found in self.expanded.occurrences if self.now < found.ends_at}
        return [window for window in self.windows.values() if window.id not in alive]


class Moved(Exception):
    """Something has changed since the windows were read."""


def look() -> Known:
    """Read the windows and expand them, without a lock.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    began = time.monotonic()
    try:
        with reading(db.engine) as connection:
            found = connection.execute(SEEN.add_columns(rows(WINDOWS))).one()
    except SQLAlchemyError as error:
        raise unavailable(error) from error
    return _known(time.monotonic() - began, *found)


def behind_lock(by: Author, change: Callable[[Session, Values, Known], T], seen: Known | None = None) -> T:
    """Run one write behind the lock of the settings, which it gets with the windows as they are then.

    They were expanded before, in `seen` if that is given. Where something was changed in between, it begins anew, so
    that nobody waits for that; a few windows are expanded behind the lock.

    Raises:
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    for left in reversed(range(TRIES)):
        seen = seen or look()
        longer = len(seen.windows) // A_SECOND - seen.took
        try:
            with writing(by, longer=longer) as session:
                before = settings.locked_row(session)
                return change(session, before, _still(session, seen, patient=left > 0))
        except Moved:
            seen = None
    raise AssertionError("the last try does not give up")


def _still(session: Session, seen: Known, *, patient: bool) -> Known:
    """Return the windows that were seen, or as they are by now. The time is taken behind the lock.

    Raises:
        Moved: they have to be expanded anew, many of them, and the lock can be taken once more.
    """
    now, version = session.execute(SEEN).one()
    if version == seen.version and midnight(now) == seen.expanded.day:
        return replace(seen, now=now)
    if patient and len(seen.windows) > MOST_WINDOWS:
        raise Moved
    return _known(0.0, *session.execute(SEEN.add_columns(rows(WINDOWS))).one())


def _known(took: float, now: datetime, version: int | None, found: Iterable[Mapping[str, Any]]) -> Known:
    windows = {window.id: window for window in (Window(**row) for row in found)}
    return Known(version, now, took, windows, expand_all(windows.values(), now))
