"""Turn maintenance on and off, and plan it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from ..database import Author, writing
from ..errors import InvalidInput, NotFound, RevisionConflict
from ..fields import timestamp, with_timestamps
from ..history import service as history
from ..settings import service as settings
from ..settings.models import MODES
from .models import MaintenanceWindow
from .policy import Maintenance
from .schedule import MOST_WINDOWS, Occurrence, Window, current, plan
from .timeline import Phase, phase

TABLE = MaintenanceWindow.__table__
KEPT = timedelta(days=1)  # a window that is over stays readable for this long
STAYS: Literal["stays"] = "stays"  # an end that is left as it is

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a change led to: the phase in force now, whether anything changed, and the occurrences that it ended."""

    phase: Phase
    changed: bool
    ended: Sequence[Occurrence] = ()


def switch(
    by: Author,
    *,
    active: bool,
    until: datetime | Literal["stays"] | None = STAYS,
    expected: Collection[str] | None = None,
    **named: str | None,
) -> Outcome:
    """Put this in force: with `until` by a window from now, else by the switch; off also ends what is open now.

    A window opened so is the switch's other form: the next call moves it, or puts the switch in its place. A planned
    one stays. What already is changes nothing.

    Args:
        by: who switches.
        active: on or off.
        until: when it ends by itself; only with `active`. None: never by itself. STAYS: when it would anyway, and never
            where nothing is in force yet.
        expected: the ETags of the state that may be replaced; None: any.
        named: `mode` and `message`; what is not named stays while it is on, and takes its default while it is off.

    Raises:
        RevisionConflict: another state is in force than `expected`.
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    with writing(by) as session:
        before = settings.locked_row(session)
        now = datetime.now(UTC)  # not before the lock: what another writer opened meanwhile is open now
        windows = _windows(session)
        found = phase(before, windows, now.timestamp())
        _check(found, expected)
        after, opened, ended = before, None, []
        end, kept = _kept(found.maintenance, active) if until == STAYS else (until, {})
        if end is None:
            in_its_place = [] if until == STAYS else [_ad_hoc(windows, now)]
            ended = _end(session, in_its_place if active else windows, now)
            after = settings.write(session, before, _wanted(before, active, named))
        elif named or until != STAYS:
            opened = _open(session, windows, end, {**kept, **named}, now)
        state = phase(after, _windows(session), now.timestamp())
    moved = settings.Outcome(before, after)
    settings.log(moved, by)
    known = {window.id for window in windows}
    _log("changed" if opened and opened.id in known else "opened", by, *filter(None, [opened]))
    _log("ended", by, *(occurrence.window for occurrence in ended))
    return Outcome(state, bool(moved.changed or opened or ended), [] if active else ended)


def _check(state: Phase, expected: Collection[str] | None) -> None:
    if expected is not None and state.document.etag not in expected:
        raise RevisionConflict("Another state is in force by now.", state.document.etag)


def _kept(found: Maintenance, active: bool) -> tuple[datetime | None, dict[str, str | None]]:
    """Return the end that stays, and what else does unless it is named: only windows that are open have one."""
    if not active or found.until is None:
        return None, {}
    return found.until, {"mode": found.mode, "message": found.message}


def _wanted(before: Mapping[str, Any], active: bool, named: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the switch's fields."""
    if active and before["is_maintain"]:
        kept = {"mode": before["maintenance_mode"], "message": before["maintenance_message"]}
    else:
        kept = {"mode": MODES[0], "message": None}
    wanted = {**kept, **named}
    return {"is_maintain": active, "maintenance_mode": wanted["mode"], "maintenance_message": wanted["message"]}


def schedule(by: Author, **planned: Any) -> Window:
    """Plan a window; the arguments are those of `schedule.plan`.

    Raises:
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was stored.
    """
    window = plan(datetime.now(UTC), **planned)  # before the lock: going through a rule takes its time
    with writing(by) as session:
        settings.locked_row(session)
        _add(session, _windows(session), window, datetime.now(UTC))
    _log("planned", by, window)
    return window


def cancel(by: Author, identifier: uuid.UUID) -> Window | None:
    """Delete a window, which ends it where it is open; return None where it is gone already.

    Raises:
        NotFound: there never was such a window.
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    with writing(by) as session:
        settings.locked_row(session)
        window = next((known for known in _windows(session) if known.id == identifier), None)
        if window is None:
            if history.knows(session, "window", str(identifier)):
                return None
            raise NotFound(f"There is no window {identifier}.")
        _delete(session, [window])
    _log("cancelled", by, window)
    return window


def _log(happened: str, by: Author, *windows: Window) -> None:
    """Log changes to windows, as each change to the settings is."""
    for window in windows:
        times = {"starts_at": timestamp(window.starts_at), "ends_at": timestamp(window.ends_at), "rrule": window.rrule}
        logger.info("window %s", happened, extra={**asdict(by), "window": str(window.id), **times})


def _windows(session: Session) -> list[Window]:
    columns = [TABLE.c[field.name] for field in fields(Window)]
    return [Window(**row) for row in session.execute(select(*columns)).mappings()]


def _open(
    session: Session, windows: list[Window], until: datetime, named: Mapping[str, str | None], now: datetime
) -> Window | None:
    """Open a window until then, or move the end of the one that was opened so and is open; None: it is so already."""
    known = _ad_hoc(windows, now)
    kept: dict[str, Any] = {} if known is None else {"mode": known.mode, "message": known.message}
    try:
        planned = plan(now, starts_at=now, ends_at=until, **{**kept, **named})
    except InvalidInput as error:
        raise InvalidInput({"until": error.errors["ends_at"]}) from error
    if known is None:
        _add(session, windows, replace(planned, ad_hoc=True), now)
        return planned
    wanted = replace(planned, id=known.id, starts_at=known.starts_at, ad_hoc=True)
    if wanted == known:
        return None
    _update(session, known, wanted)
    return wanted


def _ad_hoc(windows: Iterable[Window], now: datetime) -> Window | None:
    """Return the open window that `switch` opened."""
    return next((window for window in windows if window.ad_hoc and window.starts_at <= now < window.ends_at), None)


def _add(session: Session, windows: list[Window], window: Window, now: datetime) -> None:
    """Store a window, and clean up those that are long over."""
    over = [known for known in windows if current(known, now) is None]
    if len(windows) - len(over) >= MOST_WINDOWS:
        raise InvalidInput({"_schema": [f"{MOST_WINDOWS} windows are planned already; cancel one first."]})
    _delete(session, [known for known in over if current(known, now - KEPT) is None])
    session.execute(insert(MaintenanceWindow).values(asdict(window)))
    history.record(session, "window", str(window.id), None, recordable(window))


def _end(session: Session, windows: Iterable[Window | None], now: datetime) -> list[Occurrence]:
    """End the open ones of these windows: one that recurs begins again at its next time, any other is deleted."""
    ended = [found for window in windows if window and (found := current(window, now)) and found.is_open(now)]
    over = [occurrence.window for occurrence in ended]
    _delete(session, [window for window in over if window.rrule is None])
    for window in over:
        if window.rrule is not None:
            _update(session, window, replace(window, ended_at=now))
    return ended


def _update(session: Session, before: Window, after: Window) -> None:
    session.execute(update(MaintenanceWindow).where(TABLE.c.id == before.id).values(asdict(after)))
    history.record(session, "window", str(before.id), recordable(before), recordable(after))


def _delete(session: Session, windows: Collection[Window]) -> None:
    if windows:
        session.execute(delete(MaintenanceWindow).where(TABLE.c.id.in_([window.id for window in windows])))
    for window in windows:
        history.record(session, "window", str(window.id), recordable(window), None)


def recordable(window: Window) -> dict[str, Any]:
    """Return a window's fields but the id, as JSON shows them."""
    return with_timestamps({name: value for name, value in asdict(window).items() if name != "id"})
