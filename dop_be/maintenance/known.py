"""What a write knows of the windows: expanded before it takes the lock, since that takes its time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ScalarSelect, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .. import deadline
from ..columns import database_now, rows
from ..database import Author, ask, writing
from ..errors import InvalidInput, NotFound
from ..extensions import db
from ..failures import unavailable
from ..settings import service as settings
from ..settings.service import Values
from ..version import LiveState
from .models import COMPONENTS, NAME_LENGTH, WINDOWS, Component
from .schedule import MOST_WINDOWS, Expanded, Occurrence, Window, expand_all, midnight

T = TypeVar("T")
TRIES = 3  # to take the lock before anything has changed again
A_SECOND = 1_000  # windows, which a write may take longer; SQL may have planned thousands
FACTS = (database_now(), select(LiveState.version).scalar_subquery())
FEW = rows(WINDOWS.limit(MOST_WINDOWS + 1))


@dataclass(frozen=True)
class Known:
    """The windows at a version of the database, expanded.

    `now` is the time on its clock, `took` the seconds that it took to answer and that the write has less. `components`
    are the rows, by name, of those whose switch is on, and of the one that the write is about.
    """

    version: int | None
    now: datetime
    took: float
    windows: Mapping[uuid.UUID, Window]
    expanded: Expanded
    components: Mapping[str, Values] = field(default_factory=dict)

    def open_now(self) -> list[Occurrence]:
        """Return the occurrences that are open, of the platform and of every component."""
        return [occurrence for occurrence in self.expanded.occurrences if occurrence.is_open(self.now)]

    def open_for(self, component: str | None) -> list[Occurrence]:
        """Return the open occurrences of a component's own windows, or of the platform's with None."""
        return [occurrence for occurrence in self.open_now() if occurrence.window.component == component]

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
        found = ask(db.engine, select(*FACTS, rows(WINDOWS))).one()
    except SQLAlchemyError as error:
        raise unavailable(error) from error
    return _known(_counted(time.monotonic() - began), *tuple(found))


def _counted(took: float) -> float:
    """Return how much of it the write has less: no round trips, and nothing where connecting may take its time."""
    travel = deadline.ROUND_TRIPS * deadline.round_trip.seconds
    return 0.0 if deadline.patient.get() else max(0.0, took - travel)


def behind_lock(
    by: Author,
    change: Callable[[Session, Values, Known], T],
    seen: Known | None = None,
    component: str | None = None,
) -> T:
    """Run one write behind the lock of the settings, which it gets with the windows as they are then.

    `component` is the one that the write is about, None for the platform.

    A few windows are read along with the lock, and expanded behind it. Many were expanded before, in `seen` if that is
    given; where something was changed in between, it begins anew, so that nobody waits for that.

    Raises:
        NotFound: there is no such component.
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    for left in reversed(range(TRIES)):
        longer = len(seen.windows) // A_SECOND - seen.took if seen else 0
        try:
            with writing(by, longer=longer) as session:
                return change(session, *_locked(session, seen, component, patient=left > 0))
        except Moved:
            seen = look()
    raise AssertionError("the last try does not give up")


def known_component(by: Author, change: Callable[[Session, Values, Known], T], seen: Known, component: str | None) -> T:
    """Run a write as `behind_lock` does, with a component that stands in a body.

    Raises:
        InvalidInput: there is no such component.
    """
    try:
        return behind_lock(by, change, seen, component)
    except NotFound as error:
        raise InvalidInput({"component": [error.detail]}) from error


def _locked(session: Session, seen: Known | None, component: str | None, *, patient: bool) -> tuple[Values, Known]:
    """Lock the settings, and return them with the windows as they are by now. The time is taken behind the lock.

    Raises:
        NotFound: there is no such component.
        Moved: many windows have to be expanded anew, and the lock can be taken once more.
    """
    more = [_components(component), *([] if seen else [FEW])]
    before, (now, version, found, *few) = settings.locked_row(session, *FACTS, *more)
    components = {row["name"]: row for row in found}
    if component is not None and component not in components:
        raise NotFound(f"There is no component {component[:NAME_LENGTH]!r}.")
    if seen and version == seen.version and midnight(now) == seen.expanded.day:
        return before, replace(seen, now=now, components=components)
    if few and len(few[0]) <= MOST_WINDOWS:
        return before, replace(_known(0.0, now, version, few[0]), components=components)
    if patient and (seen is None or len(seen.windows) > MOST_WINDOWS):
        raise Moved
    every = session.execute(select(rows(WINDOWS))).scalar_one()
    return before, replace(_known(0.0, now, version, every), components=components)


def _components(component: str | None) -> ScalarSelect[list[dict[str, Any]]]:
    """Return the query for those whose switch is on, and this one."""
    return rows(COMPONENTS.where(or_(Component.is_maintain, Component.name == component)))


def _known(took: float, now: datetime, version: int | None, found: Iterable[Mapping[str, Any]]) -> Known:
    windows = {window.id: window for window in (Window(**row) for row in found)}
    return Known(version, now, took, windows, expand_all(windows.values(), now))
