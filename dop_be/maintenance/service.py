"""Turning maintenance on and off, and planning it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, event, select
from sqlalchemy.orm import Mapper, Session

from ..database import Attribution
from ..errors import InvalidInput, NotFound
from ..fields import timestamp
from ..live import writing
from ..live.snapshot import Phase, phase
from ..settings import recording  # noqa: F401 - its listener records changes on SQLite
from ..settings.models import SystemSettings
from ..settings.service import locked_row
from ..version import raise_version
from .models import MaintenanceWindow
from .schedule import MOST_WINDOWS, Occurrence, Window, current, expand_all, plan

logger = logging.getLogger(__name__)

KEPT = timedelta(days=1)  # a window that is over stays readable for this long


@dataclass(frozen=True)
class Outcome:
    """What a change led to: the phase in force now, whether anything changed, and the occurrences that it ended."""

    phase: Phase
    changed: bool
    ended: Sequence[Occurrence] = ()


def switch(
    by: Attribution, *, active: bool, mode: str = "full", message: str | None = None, until: datetime | None = None
) -> Outcome:
    """Put this in force: with `until` by a window from now, else by the switch; off also ends what is open now.

    What already is changes nothing.

    Raises:
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    wanted = {"is_maintain": active, "maintenance_mode": mode, "maintenance_message": message}
    with writing(by) as session:
        row = locked_row(session)
        now = datetime.now(UTC)  # not before the lock: what another writer opened meanwhile is open now
        windows = _windows(session)
        opened, ended = None, []
        if until is not None:
            opened = _open(session, windows, _from_now(now, until, mode, message), now)
            changed = opened is not None
        else:
            ended = [] if active else _end_open(session, windows, now)
            changed = _set(session, row, wanted) or bool(ended)
        outcome = Outcome(_phase(row, _windows(session), now), changed, ended)
    for happened, found in [("opened", opened), *(("ended", occurrence.window) for occurrence in ended)]:
        if found is not None:
            _tell(happened, found, by)
    return outcome


def schedule(by: Attribution, **planned: Any) -> Window:
    """Plan a window; the arguments are those of `schedule.plan`.

    Raises:
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was stored.
    """
    with writing(by) as session:
        locked_row(session)
        now = datetime.now(UTC)  # as in `switch`
        window = plan(now, **planned)
        _add(session, _windows(session), window, now)
    _tell("planned", window, by)
    return window


def cancel(by: Attribution, identifier: uuid.UUID) -> Window:
    """Delete a window, which ends it where it is open.

    Raises:
        NotFound, SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    with writing(by) as session:
        locked_row(session)
        row = session.get(MaintenanceWindow, identifier)
        if row is None:
            raise NotFound("There is no such window.")
        window = Window(**row.values())
        session.delete(row)
    _tell("cancelled", window, by)
    return window


def _tell(happened: str, window: Window, by: Attribution) -> None:
    """Log a change to a window, as each change to the settings is."""
    times = {"starts_at": timestamp(window.starts_at), "ends_at": timestamp(window.ends_at), "rrule": window.rrule}
    logger.info("window %s", happened, extra={**asdict(by), "window": str(window.id), **times})


def _from_now(now: datetime, until: datetime, mode: str, message: str | None) -> Window:
    try:
        return plan(now, starts_at=now, ends_at=until, mode=mode, message=message)
    except InvalidInput as error:
        raise InvalidInput({"until": error.errors["ends_at"]}) from error


def _windows(session: Session) -> list[Window]:
    return [Window(**row.values()) for row in session.scalars(select(MaintenanceWindow))]


def _phase(row: SystemSettings, windows: list[Window], now: datetime) -> Phase:
    return phase(row.values(), expand_all(windows, now), now)


def _set(session: Session, row: SystemSettings, wanted: dict[str, Any]) -> bool:
    before = row.revision
    for name, value in wanted.items():
        setattr(row, name, value)
    session.flush()
    return row.revision != before


def _open(session: Session, windows: list[Window], window: Window, now: datetime) -> Window | None:
    """Add a window and return it, unless one like it is open already and closes when it would."""
    for known in windows:
        if known.starts_at <= now and replace(known, id=window.id, starts_at=window.starts_at) == window:
            return None
    _add(session, windows, window, now)
    return window


def _add(session: Session, windows: list[Window], window: Window, now: datetime) -> None:
    """Store a window, and clean up those that are long over."""
    over = [known for known in windows if current(known, now) is None]
    if len(windows) - len(over) >= MOST_WINDOWS:
        raise InvalidInput({"_schema": [f"{MOST_WINDOWS} windows are planned already; cancel one first."]})
    for known in over:
        if current(known, now - KEPT) is None:
            session.delete(session.get_one(MaintenanceWindow, known.id))
    session.add(MaintenanceWindow(**asdict(window)))
    session.flush()


def _end_open(session: Session, windows: list[Window], now: datetime) -> list[Occurrence]:
    """End what is open: a window that recurs begins again at its next time, any other is deleted."""
    ended = [found for window in windows if (found := current(window, now)) and found.is_open(now)]
    for occurrence in ended:
        row = session.get_one(MaintenanceWindow, occurrence.window.id)
        if row.rrule is None:
            session.delete(row)
        else:
            row.ended_at = now
    session.flush()
    return ended


def _raise_version(mapper: Mapper[Any], connection: Connection, row: MaintenanceWindow) -> None:
    raise_version(connection)


for moment in ("after_insert", "after_update", "after_delete"):
    event.listen(MaintenanceWindow, moment, _raise_version)
