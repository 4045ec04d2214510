"""Change planned windows: replace one as a whole, or move the end of one that is open."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from ..database import Author
from ..documents import document
from ..errors import InvalidInput, NotFound, RevisionConflict
from ..settings.service import Values
from . import stored
from .known import Known, behind_lock, known_component, look
from .schedule import Occurrence, Window, check_ahead, check_length, current, plan, split_from
from .schemas import dump_window
from .service import add, check_room, log

MOST_NAMED = 5  # windows in a sentence; SQL may have planned thousands
ANY = "*"  # among the ETags of a precondition: whatever is there
SWITCH_IS_ON = "The switch is on, so maintenance has no end to move; `flask maintenance off` ends it."
NONE_OPEN = "No window is open; name the one whose end is to move: `flask maintenance windows` lists them."
SEVERAL_OPEN = "Several windows are open, so name one by its id: {}."
WOULD_BE_OVER = "The window would be over already; delete it to end it."
RECURS = (
    "The window recurs and is not open, and only a time that is open can be extended; cancel the window and plan it"
    " anew, or change all of its times with PUT."
)


@dataclass(frozen=True)
class Extended:
    """A window whose end was moved, and the time on the database's clock.

    `series` is the window that recurs and of which it was the open occurrence; `changed` is false where it ended then
    already.
    """

    window: Window
    now: datetime
    series: Window | None
    changed: bool


def put(
    by: Author,
    identifier: uuid.UUID,
    *,
    expected: Collection[str] | None = None,
    unwanted: Collection[str] = (),
    **planned: Any,
) -> tuple[Window, bool]:
    """Store the window of this id, in the place of the one that is there; return it, and whether it is new.

    An open window is changed by one UPDATE, so that the gate stays closed. What is there already changes nothing, also
    where it is over. What somebody ended early of a window that recurs stays ended.

    Args:
        by: who plans.
        identifier: of the window.
        expected: the ETags that may be replaced, or ANY; None: also nothing. One that is there already as it shall be
            is no conflict (RFC 9110 section 13.1.1).
        unwanted: the ETags that may not be there, or ANY.
        planned: the arguments of `schedule.plan`.

    Raises:
        RevisionConflict: another window is there than these allow.
        InvalidInput, SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    by.check(planned.get("component"))
    seen = look()
    # Before the lock, since going through a rule takes its time. One that is over may be there already.
    wanted = replace(plan(seen.now, over_too=True, **planned), id=identifier)
    asked = partial(_put, by=by, wanted=wanted, expected=expected, unwanted=frozenset(unwanted))
    before, window = known_component(by, asked, seen, wanted.component)
    if window != before:
        log("changed" if before else "planned", by, window)
    return window, before is None


def _put(  # noqa: PLR0913 - as for `put`
    session: Session,
    _settings: Values,
    known: Known,
    *,
    by: Author,
    wanted: Window,
    expected: Collection[str] | None,
    unwanted: Collection[str],
) -> tuple[Window | None, Window]:
    """Return the window before and after."""
    before = known.windows.get(wanted.id)
    if before is not None:
        by.check(before.component)  # moving it from one component to another needs the right to both
    is_there = before is not None and dump_window(before) == dump_window(wanted)
    if not is_there:
        check_ahead(_in_place_of(before, wanted), known.now, *([WOULD_BE_OVER] if before else []))
    _check(before, None if is_there else expected, unwanted)
    if before is not None and is_there:
        return before, before
    wanted = _in_place_of(before, wanted)
    if before is None:
        add(session, known, wanted)
    else:
        if before in known.over():
            check_room(known)
        stored.change(session, before, wanted)
    return before, wanted


def _in_place_of(before: Window | None, wanted: Window) -> Window:
    """Return the window with what a caller cannot say of it."""
    if before is None:
        return wanted
    opened_so = before.ad_hoc and wanted.rrule is None and wanted.starts_at == before.starts_at
    return replace(wanted, ended_at=before.ended_at if wanted.rrule else None, ad_hoc=opened_so)


def _check(before: Window | None, expected: Collection[str] | None, unwanted: Collection[str]) -> None:
    tag = document(dump_window(before)).etag if before else None
    found = {ANY, tag} if before else set()
    if found & set(unwanted):
        raise RevisionConflict("The window is there already.", tag)
    if expected is not None and not found & set(expected):
        raise RevisionConflict("The window is another one by now." if before else "The window is not there.", tag)


def extend(by: Author, until: datetime | timedelta, identifier: uuid.UUID | None = None) -> Extended:
    """Move the end of the one window that is open, or of the one with this id.

    Of one that recurs, the open occurrence becomes a window of its own, and the rule goes on with the next one: the end
    of that one occurrence moves. Doing it again moves the same end again.

    Args:
        by: who asks for it.
        until: the new end, or by how much later than planned it is to end.
        identifier: of the window; None: the open one.

    Raises:
        NotFound: there is no such window.
        InvalidInput: the switch is on; not exactly one window is open; the window recurs and is not open; the end has
            passed, or is not one that a window may have.
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    done = behind_lock(by, partial(_extend, until=until, identifier=identifier))
    if done.changed:
        log("extended", by, done.window)
    return done


def _extend(
    session: Session, settings: Values, known: Known, *, until: datetime | timedelta, identifier: uuid.UUID | None
) -> Extended:
    if settings["is_maintain"]:
        raise _refused(SWITCH_IS_ON)
    window = _chosen(known, identifier)
    found = current(window, known.now) or Occurrence(window.starts_at, window.ends_at, window)
    if window.rrule is not None and not found.is_open(known.now):
        raise _refused(RECURS)
    ends_at = found.ends_at + until if isinstance(until, timedelta) else until
    if ends_at == found.ends_at:
        return Extended(window, known.now, None, changed=False)
    check_length(found.starts_at, ends_at)
    moved = replace(window, starts_at=found.starts_at, ends_at=ends_at, rrule=None, ended_at=None)
    check_ahead(moved, known.now, WOULD_BE_OVER)
    if window.rrule is None:
        stored.change(session, window, moved)
        return Extended(moved, known.now, None, changed=True)
    moved = replace(moved, id=uuid.uuid4())
    stored.end(session, [found], known.now)
    stored.add(session, moved)  # also where as many windows are planned as may be: the gate is not to open for that
    return Extended(moved, known.now, window, changed=True)


def _chosen(known: Known, identifier: uuid.UUID | None) -> Window:
    """Return the window whose end is to move."""
    opened = known.open_now()
    if identifier is None:
        if len(opened) > 1:
            raise _refused(SEVERAL_OPEN.format(", ".join(str(found.window.id) for found in opened[:MOST_NAMED])))
        if not opened:
            raise _refused(NONE_OPEN)
        return opened[0].window
    window = known.windows.get(identifier)
    if window is None:
        raise NotFound(f"There is no window {identifier}.")
    return split_from(window, opened) or window


def _refused(sentence: str) -> InvalidInput:
    return InvalidInput({"_schema": [sentence]})
