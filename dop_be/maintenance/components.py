"""Name the parts of the platform that can be closed alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from ..access import service as access
from ..columns import rows
from ..database import Author, along, reading, writing
from ..errors import InvalidInput
from ..extensions import db
from ..fields import with_timestamps
from ..history import service as history
from ..settings import service as settings
from . import stored
from .models import COMPONENTS, NAME, TITLE_LENGTH, WINDOWS, Component, MaintenanceWindow
from .schedule import Window

TABLE = Component.__table__
MOST_COMPONENTS = 1000
DERIVED = {"name", "maintenance_since"}  # not recorded: the entry's key, and what follows the switch
logger = logging.getLogger(__name__)
Row = Mapping[str, Any]


def put(by: Author, name: str, *, title: str | None) -> tuple[Row, bool]:
    """Make a component, or give it another title; return its row and whether it is new.

    Args:
        by: who does.
        name: lower-case letters, digits and hyphens, up to 63.
        title: what people see, up to 100 characters; None: the name.

    Raises:
        InvalidInput: the name or the title is none, or there are 1,000 components already.
        DatabaseUnavailable: nothing was changed.
    """
    check_name(name)
    if title is not None and len(title) > TITLE_LENGTH:
        raise InvalidInput({"title": [f"Longer than maximum length {TITLE_LENGTH}."]})
    with writing(by) as session:
        before = _locked(session, name)
        if before is None:
            _check_number(session)
            along(session, insert(Component).values(name=name, title=title))
        elif before["title"] != title:
            along(session, update(Component).where(TABLE.c.name == name).values(title=title))
        after = _read(session, name) or {}
        record(session, before, after)
    if before != after:
        logger.info("component put", extra={**by.told(), "component": name, "title": title})
    return after, before is None


def remove(by: Author, name: str) -> list[Window] | None:
    """Remove a component with its windows, which end where they are open, and take it off every token.

    Return the windows; None where there is no such component, and so nothing to do.

    Raises:
        DatabaseUnavailable: nothing was changed.
    """
    with writing(by) as session:
        before = _locked(session, name)
        if before is None:
            return None
        found = select(rows(WINDOWS.where(MaintenanceWindow.component == name)))
        windows = [Window(**row) for row in session.execute(found).scalar_one()]
        stored.delete(session, windows)
        access.forget_component(session, name)
        along(session, delete(Component).where(TABLE.c.name == name))
        record(session, before, None)
    logger.info("component removed", extra={**by.told(), "component": name, "windows": len(windows)})
    return windows


def was_there(name: str) -> bool:
    """Whether the history knows a component of this name."""
    with reading(db.engine) as connection:
        return history.knows(connection, "component", name)


def write(session: Session, before: Row, values: Row, now: datetime) -> Row:
    """Write what differs from the locked row of a component, and record that; return the row as it is then.

    On PostgreSQL a trigger writes when the switch was flipped.
    """
    changed = {name: value for name, value in values.items() if before[name] != value}
    if not changed:
        return before
    statement = update(Component).where(TABLE.c.name == before["name"])
    if session.get_bind().dialect.name == "postgresql":
        return dict(session.execute(statement.values(changed).returning(*TABLE.columns)).mappings().one())
    flipped = {"maintenance_since": now} if "is_maintain" in changed else {}
    after = {**before, **changed, **flipped}
    along(session, statement.values(**changed, **flipped))
    record(session, before, after)
    return after


def check_name(name: str) -> None:
    """Check that a component can have this name.

    Raises:
        InvalidInput: it cannot.
    """
    if not NAME.fullmatch(name):
        accepted = "use up to 63 lower-case letters, digits and hyphens, beginning with a letter or a digit"
        raise InvalidInput({"name": [f"{name[:70]!r} is not the name of a component; {accepted}."]})


def record(session: Session, before: Row | None, after: Row | None) -> None:
    """Record a component before and after a change, where triggers do not; None: not there."""
    sides = [row and with_timestamps({n: v for n, v in row.items() if n not in DERIVED}) for row in (before, after)]
    if sides[0] != sides[1]:
        key = (after or before or {})["name"]
        history.record(session, "component", [(key, *sides)])


def _locked(session: Session, name: str) -> Row | None:
    """Lock the settings, at which all writers queue, and return the component's row."""
    settings.locked_row(session)
    return _read(session, name)


def _read(session: Session, name: str) -> Row | None:
    found = session.execute(COMPONENTS.where(TABLE.c.name == name)).mappings().one_or_none()
    return dict(found) if found is not None else None


def _check_number(session: Session) -> None:
    if (session.scalar(select(func.count()).select_from(Component)) or 0) >= MOST_COMPONENTS:
        raise InvalidInput({"_schema": [f"There are {MOST_COMPONENTS:,} components already; remove one first."]})
