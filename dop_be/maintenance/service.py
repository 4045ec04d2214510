"""Turn maintenance on and off, and plan it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Literal

from sqlalchemy.orm import Session

from ..columns import database_now, rows
from ..database import Author, writing
from ..errors import InvalidInput, NotFound, RevisionConflict
from ..fields import timestamp
from ..history import service as history
from ..settings import service as settings
from ..settings.models import MODES
from ..settings.service import Values
from . import components, stored
from .known import Known, behind_lock, known_component, look
from .models import WINDOWS, MaintenanceWindow
from .policy import Maintenance, in_force
from .schedule import MOST_WINDOWS, Occurrence, Window, current, expand_all, plan
from .timeline import Phase, component_phase, phase

TABLE = MaintenanceWindow.__table__
KEPT = timedelta(days=1)  # a window that is over stays readable for this long
STAYS: Literal["stays"] = "stays"  # an end that is left as it is

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a change led to: the phase in force now, whether anything changed, and the occurrences that it ended.

    `now` is the time on the database's clock.
    """

    phase: Phase
    changed: bool
    now: datetime
    ended: Sequence[Occurrence] = ()


def switch(
    by: Author,
    *,
    active: bool,
    until: datetime | timedelta | Literal["stays"] | None = STAYS,
    expected: Collection[str] | None = None,
    component: str | None = None,
    **named: str | None,
) -> Outcome:
    """Put this in force: with `until` by a window from now, else by the switch; off also ends what is open now.

    A window opened so is the switch's other form: the next call moves it, or puts the switch in its place. A planned
    one stays. What already is changes nothing. Of the platform and its components each has a switch and windows of its
    own, and no other is touched.

    Args:
        by: who switches.
        active: on or off.
        until: when, or after what time, it ends by itself; only with `active`. None: never by itself. STAYS: when it
            would anyway, and never where nothing is in force yet.
        expected: the ETags of the state that may be replaced; None: any.
        component: which one; None: the platform.
        named: `mode` and `message`; what is not named stays while it is on, and takes its default while it is off.

    Raises:
        RevisionConflict: another state is in force than `expected`.
        NotFound: there is no such component.
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    by.check(component)
    asked = partial(_switch, active=active, until=until, expected=expected, component=component, named=named)
    done = behind_lock(by, asked, component=component)
    known, opened, ended = done.known, done.opened, done.ended
    settings.log(settings.Outcome(done.before, done.settings), by)
    log("changed" if opened and opened.id in known.windows else "opened", by, *filter(None, [opened]))
    log("ended", by, *(occurrence.window for occurrence in ended))
    windows: dict[uuid.UUID, Window | None] = {**known.windows, **stored.after(ended, known.now)}
    if opened:
        windows[opened.id] = opened
    expanded = expand_all(filter(None, windows.values()), known.now)
    state = _phase(done.settings, replace(known, expanded=expanded, components=done.components), component)
    moved = done.before != done.settings or known.components != done.components
    return Outcome(state, bool(moved or opened or ended), known.now, [] if active else ended)


@dataclass(frozen=True)
class _Switched:
    """What was before, and what is after, behind the lock."""

    before: Values
    known: Known
    settings: Values
    components: Mapping[str, Values]
    opened: Window | None
    ended: Sequence[Occurrence]


def _phase(after: Values, known: Known, component: str | None) -> Phase:
    """Return what is in force for the platform, or for a component."""
    if component is None:
        return phase(after, known.expanded, known.now, known.components)
    return component_phase(after, known.components[component], known.expanded, known.now)


def _switch(  # noqa: PLR0913 - as for `switch`
    session: Session,
    before: Values,
    known: Known,
    *,
    active: bool,
    until: datetime | timedelta | Literal["stays"] | None,
    expected: Collection[str] | None,
    component: str | None,
    named: Mapping[str, str | None],
) -> _Switched:
    if expected is not None:
        _check(_phase(before, known, component), expected)
    row = before if component is None else known.components[component]
    own = [found for found in known.expanded.occurrences if found.window.component == component]
    found = in_force({"revision": 0, **row}, own, known.now)
    end, kept = _kept(found, active) if until == STAYS else (until, {})
    if end is not None:
        opened = _open(session, known, component, end, {**kept, **named}) if named or until != STAYS else None
        return _Switched(before, known, before, known.components, opened, [])
    ended = _ended(known, component, active, moved=until != STAYS)
    stored.end(session, ended, known.now)
    wanted = _wanted(row, active, named)
    if component is None:
        return _Switched(before, known, settings.write(session, before, wanted), known.components, None, ended)
    after = {**known.components, component: components.write(session, row, wanted, known.now)}
    return _Switched(before, known, before, after, None, ended)


def _check(state: Phase, expected: Collection[str]) -> None:
    if state.document.etag not in expected:
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


def schedule(by: Author, **planned: Any) -> tuple[Window, datetime]:
    """Plan a window; the arguments are those of `schedule.plan`. Return it with the time on the database's clock.

    Raises:
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was stored.
    """
    by.check(planned.get("component"))
    seen = look()
    window = plan(seen.now, **planned)  # before the lock: going through a rule takes its time

    def store(session: Session, _before: Values, known: Known) -> datetime:
        add(session, known, window)
        return known.now

    moment = known_component(by, store, seen, window.component)
    log("planned", by, window)
    return window, moment


def cancel(by: Author, identifier: uuid.UUID) -> tuple[Window | None, datetime]:
    """Delete a window, which ends it where it is open. Return it with the time on the database's clock.

    It is None where it is gone already.

    Raises:
        NotFound: there never was such a window.
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    with writing(by) as session:
        found = rows(WINDOWS.where(TABLE.c.id == identifier))
        _, (moment, windows) = settings.locked_row(session, database_now(), found)
        if not windows:
            if history.knows(session, "window", str(identifier)):
                return None, moment
            raise NotFound(f"There is no window {identifier}.")
        window = Window(**windows[0])
        by.check(window.component)
        stored.delete(session, [window])
    log("cancelled", by, window)
    return window, moment


def log(happened: str, by: Author, *windows: Window) -> None:
    """Log changes to windows, as each change to the settings is."""
    for window in windows:
        times = {"starts_at": timestamp(window.starts_at), "ends_at": timestamp(window.ends_at), "rrule": window.rrule}
        logger.info("window %s", happened, extra={**by.told(), "window": str(window.id), **times})


def _open(
    session: Session,
    known: Known,
    component: str | None,
    until: datetime | timedelta,
    named: Mapping[str, str | None],
) -> Window | None:
    """Open a window until then, or move the end of the one that was opened so and is open; None: it is so already."""
    opened = next((found.window for found in known.open_for(component) if found.window.ad_hoc), None)
    kept: dict[str, Any] = {} if opened is None else {"mode": opened.mode, "message": opened.message}
    ends_at = known.now + until if isinstance(until, timedelta) else until
    try:
        planned = plan(known.now, starts_at=known.now, ends_at=ends_at, **{**kept, **named})
    except InvalidInput as error:
        raise InvalidInput({"until": error.errors["ends_at"]}) from error
    if opened is None:
        planned = replace(planned, ad_hoc=True, component=component)
        add(session, known, planned)
        return planned
    wanted = replace(planned, id=opened.id, starts_at=opened.starts_at, ad_hoc=True, component=component)
    if wanted == opened:
        return None
    stored.change(session, opened, wanted)
    return wanted


def add(session: Session, known: Known, window: Window) -> None:
    """Store a window, and clean up some of those that are long over."""
    check_room(known)
    long_over = (window for window in known.over() if current(window, known.now - KEPT) is None)
    stored.delete(session, list(islice(long_over, MOST_WINDOWS)))
    stored.add(session, window)


def check_room(known: Known) -> None:
    """Raise InvalidInput where as many windows are planned as may be."""
    if len(known.windows) - len(known.over()) >= MOST_WINDOWS:
        raise InvalidInput({"_schema": [f"{MOST_WINDOWS} windows are planned already; cancel one first."]})


def _ended(known: Known, component: str | None, active: bool, *, moved: bool) -> list[Occurrence]:
    """Return the open occurrences that end: all with `off`, else the one in whose place the switch is turned on."""
    return [found for found in known.open_for(component) if not active or (moved and found.window.ad_hoc)]
