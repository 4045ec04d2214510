"""The one record of changes: written with each change, read in pages, shortened by `prune` alone.

On PostgreSQL a trigger writes it, RECORD_CHANGE in migrations/sql.py; here is what writes it on SQLite.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Regexp
from sqlalchemy import Connection, Select, and_, case, delete, func, insert, literal, not_, or_, select, text
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import Session

from ..columns import database_now
from ..database import Author, ask, author, first, writing
from ..errors import InvalidInput
from ..extensions import db
from ..fields import Digits, StrictString, timestamp
from ..version import raise_version
from .model import Change

SECRET = "(secret)"  # stands for a value that nobody may read  # noqa: S105
COLUMNS = [column for column in Change.__table__.columns if column.key != "values"]
BATCH = 5_000  # entries that `prune` deletes in one transaction, within its time limit
SQLITE_GUARD = "changes_no_DELETE"  # the trigger that refuses to delete entries

# Of what changed: its key, and its values before and after.
Sides = tuple[str | None, Mapping[str, Any] | None, Mapping[str, Any] | None]
logger = logging.getLogger(__name__)


REASON_LENGTH = 500
REASON = StrictString(
    validate=[
        Length(max=REASON_LENGTH),
        Regexp(r"[^\x00-\x1f\x7f-\x9f]*\Z", error="Contains a control character."),
    ]
)


def checked_reason(text: str | None, field: str) -> str | None:
    """Return a reason as it is recorded; None where it is empty.

    Raises:
        InvalidInput: about `field`: not a storable text of up to REASON_LENGTH characters on one line.
    """
    try:
        return REASON.deserialize((text or "").strip()) or None
    except ValidationError as error:
        raise InvalidInput({field: list(error.messages)}) from error


def record(session: Session, kind: str, changed: Iterable[Sides], **settings: Any) -> None:
    """Record changes on SQLite and raise the version; on PostgreSQL, where triggers do both, do nothing.

    Args:
        session: the transaction of the changes, from `database.writing`.
        kind: settings, window, token or component.
        changed: of each thing that changed which of its kind it is, and its values by name as JSON shows them, before
            and after; None where it was, or is, not there.
        settings: the `revision`, all `values` and the time of the settings; nothing for other kinds.
    """
    if session.get_bind().dialect.name != "sqlite":
        return
    by, newest = author(session), session.scalar(select(func.max(Change.id))) or 0  # there is one writer at a time
    same = {
        "kind": kind,
        "changed_at": datetime.now(UTC),
        "changed_by": by.actor,
        "source": by.source,
        "reason": by.reason,
        "request_id": by.request_id,
    } | settings
    entries = [
        {"key": key, "action": "insert" if before is None else "delete" if after is None else "update", "changes": said}
        for key, before, after in changed
        if (said := differences(before or {}, after or {})) or before is None or after is None
    ]
    if entries:
        session.execute(
            insert(Change), [{"id": newest + place, **entry, **same} for place, entry in enumerate(entries, 1)]
        )
        raise_version(session)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what differs, by name; a name that is missing is null."""
    pairs = {name: {"from": before.get(name), "to": after.get(name)} for name in {**before, **after}}
    return {name: sides for name, sides in pairs.items() if sides["from"] != sides["to"]}


def page(
    *, limit: int, before: int | None = None, kind: str | None = None, key: str | None = None, by: str | None = None
) -> tuple[Sequence[RowMapping], int | None]:
    """Return up to `limit` entries as they are recorded, newest first, and the `before` of the next page, if any.

    Args:
        limit: at least 1.
        before: an entry's id, exclusive.
        kind: of the entries; None: of every kind.
        key: which window or token; None: all.
        by: whose changes; None: everybody's.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    given = {Change.kind: kind, Change.key: key, Change.changed_by: by}
    wanted = [column == value for column, value in given.items() if value is not None]
    wanted += [] if before is None else [Change.id < before]
    query = select(*COLUMNS).where(*wanted).order_by(Change.id.desc()).limit(limit + 1)
    rows = ask(db.engine, query).mappings().all()
    return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None


def as_sent(field: fields.Field[Any] | None, value: Any) -> Any:
    """Return a recorded value as a client sends that field; PostgreSQL records exact numbers as JSON numbers."""
    if isinstance(field, Digits) and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return f"{Decimal(value):f}"
    if not isinstance(value, Decimal):
        return value
    return float(value) if field is not None or Decimal(repr(float(value))) == value else f"{value:f}"


def knows(session: Session | Connection, kind: str, key: str) -> bool:
    """Whether there is an entry about this one."""
    found = select(literal(1)).where(Change.kind == kind, Change.key == key).limit(1)
    return session.scalar(found) is not None


def keys(kind: str, beginning: str, *, most: int) -> list[str]:
    """Return up to so many keys that begin so, of what the history knows.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    begins = Change.key.startswith(beginning, autoescape=True)
    query = select(Change.key).where(Change.kind == kind, begins).distinct().order_by(Change.key).limit(most)
    return [key for key in ask(db.engine, query).scalars() if key is not None]


def changed_since(session: Session, identifier: int, names: Iterable[str]) -> set[str]:
    """Return which of these settings were changed by entries after the one with this id."""
    has = func.jsonb_exists if session.get_bind().dialect.name == "postgresql" else _has_member
    asked = [func.max(case((has(Change.changes, name), 1), else_=0)).label(name) for name in names]
    if not asked:
        return set()
    found = session.execute(select(*asked).where(Change.kind == "settings", Change.id > identifier)).mappings().one()
    return {name for name, changed in found.items() if changed}


def _has_member(column: Any, name: str) -> Any:
    return func.json_type(column, f'$."{name}"').is_not(None)


def prune(before: datetime, by: Author) -> int:
    """Delete the entries from before a moment, in batches; return how many there were. Each batch is itself recorded.

    The newest revision of the settings stays, from which their numbers go on, and so does what recorded a pruning.

    Raises:
        InvalidInput: the moment has not come yet.
        DatabaseUnavailable: the database does not answer, or this role may not; batches that are done stay done.
    """
    total, deleted = 0, BATCH
    while deleted == BATCH:
        with writing(by) as session:
            if before > first(session, select(database_now())).scalar_one():
                raise InvalidInput({"before": ["Expected a date that has passed."]})
            deleted = _prune(session, before)
        total += deleted
    logger.info("history pruned", extra={"before": timestamp(before), "entries": total, "actor": by.actor})
    return total


def _prune(session: Session, before: datetime) -> int:
    if session.get_bind().dialect.name == "postgresql":
        call = text("SELECT prune_changes(:before, :most)")
        return int(session.scalar(call, {"before": before, "most": BATCH}) or 0)
    doomed = session.scalars(_prunable(before)).all()
    if not doomed:
        return 0
    entries = f"{len(doomed)} {'entry' if len(doomed) == 1 else 'entries'}"
    record(session, "settings", [(None, {"history": f"{entries} from before {timestamp(before)}"}, None)])
    guard = session.scalar(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": SQLITE_GUARD})
    session.execute(text(f'DROP TRIGGER IF EXISTS "{SQLITE_GUARD}"'))
    session.execute(delete(Change).where(Change.id.in_(doomed)))
    if guard is not None:
        session.execute(text(guard))
    return len(doomed)


def _prunable(before: datetime) -> Select[int]:
    """Return the query for the oldest entries that may go, as prune_changes has it on PostgreSQL."""
    newest = select(func.max(Change.revision)).scalar_subquery()
    older = or_(Change.revision.is_(None), Change.revision < newest)
    gone = and_(_has_member(Change.changes, "history"), not_(_has_member(Change.changes, "is_maintain")))
    pruning = and_(Change.kind == "settings", Change.revision.is_(None), gone)
    return select(Change.id).where(Change.changed_at < before, older, not_(pruning)).order_by(Change.id).limit(BATCH)
