"""Changes to the settings row, each in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import ColumnElement, func, literal, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from ..database import Author, author, first, writing
from ..errors import ChangedSince, DatabaseUnavailable, NotFound, RevisionConflict, SettingsMissing
from ..fields import parse
from ..history import service as history
from ..history.model import Change
from ..sentences import UNRECORDED
from .models import SHOWN, SWITCH, WRITABLE, SystemSettings
from .schemas import FIELDS, SettingsChangeSchema, dump, settings_document

Values = Mapping[str, Any]
NAMES = [column.key for column in SHOWN]
LOCK = select(literal(1)).select_from(SystemSettings).with_for_update()
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """All settings before and after a write, the same where it changed nothing.

    `gone` names what an old revision has and that is no setting today.
    """

    before: Values
    after: Values
    gone: list[str] = field(default_factory=list)

    @property
    def changed(self) -> list[str]:
        """The settings that the write changed, without what the database records with each change."""
        return [column.key for column in WRITABLE if self.before[column.key] != self.after[column.key]]


def change(values: Values, by: Author, *, expected: Collection[str] | None = None) -> Outcome:
    """Set the named settings, which are checked already; what changes nothing makes no revision.

    Raises:
        RevisionConflict: `expected` is given, and holds neither the row's revision nor an ETag of one of its views.
        SettingsMissing, InvalidInput, DatabaseUnavailable: nothing was changed.
    """
    return _change(lambda _session, _now: (values, []), by, expected)


def restore(revision: int, by: Author, *, expected: Collection[str] | None = None) -> Outcome:
    """Make a new revision with the values of an old one. The switch, and settings that came later, stay as they are.

    Raises:
        NotFound: there is no such revision.
        InvalidInput: its values are not valid by today's rules.
        RevisionConflict, SettingsMissing, DatabaseUnavailable: as for `change`.
    """

    def wanted(session: Session, _now: Values) -> tuple[Values, list[str]]:
        return _checked(_entry(session, revision).values or {})

    return _change(wanted, by, expected)


def undo(revision: int, by: Author, *, expected: Collection[str] | None = None) -> Outcome:
    """Make a new revision without what one revision changed; the switch stays as it is.

    Raises:
        NotFound: there is no such revision.
        ChangedSince: some of it was changed again, by later revisions or unrecorded.
        InvalidInput: the values from before it are not valid by today's rules.
        RevisionConflict, SettingsMissing, DatabaseUnavailable: as for `change`.
    """

    def wanted(session: Session, now: Values) -> tuple[Values, list[str]]:
        entry = _entry(session, revision)
        changes = {name: sides for name, sides in entry.changes.items() if name not in SWITCH}
        today = changes.keys() & {column.key for column in WRITABLE}
        moved = {name for name in today if not _still(name, changes[name]["to"], now)}
        if fields := sorted(moved | history.changed_since(session, entry.id, today)):
            raise ChangedSince(
                f"Changed again since then: {', '.join(fields)}. Restore a revision, or set what you want.",
                fields=fields,
            )
        return _checked({name: sides["from"] for name, sides in changes.items()})

    return _change(wanted, by, expected)


def _entry(session: Session, revision: int) -> Row[Any]:
    """Return the change that made a revision; of two with one number, which only a restored database has, the later."""
    query = select(Change.id, Change.changes, Change.values).where(Change.revision == revision)
    found = session.execute(query.order_by(Change.id.desc()).limit(1)).first()
    if found is None:
        raise NotFound(f"There is no revision {revision}.")
    return found


def _still(name: str, recorded: Any, now: Values) -> bool:
    """Whether a setting may still have the value that was recorded; it has not where a writer went round the record.

    A value that is invalid by today's rules, which only SQL can have stored, is taken to be still there.
    """
    if recorded is None:
        return now[name] is None
    try:
        return bool(FIELDS[name].deserialize(history.as_sent(FIELDS[name], recorded)) == now[name])
    except ValidationError:
        return True


def _checked(recorded: Values) -> tuple[Values, list[str]]:
    """Return the recorded values that are settings today, without the switch's, and the names of the others."""
    known = {column.key for column in WRITABLE}
    kept = known - SWITCH
    values = {name: history.as_sent(FIELDS[name], value) for name, value in recorded.items() if name in kept}
    return parse(SettingsChangeSchema(), values), sorted(recorded.keys() - known)


def _change(
    wanted: Callable[[Session, Values], tuple[Values, list[str]]], by: Author, expected: Collection[str] | None
) -> Outcome:
    with writing(by) as session:
        now, _ = locked_row(session)
        if expected is not None:
            _check(now, expected)
        values, gone = wanted(session, now)
        outcome = Outcome(now, write(session, now, values), gone)
    log(outcome, by)
    return outcome


def _check(now: Values, expected: Collection[str]) -> None:
    """Compare the row with what a client has read: after a lost write the same revision may mean other values."""
    private, public = (settings_document(now, private=private).etag for private in (True, False))
    if {str(now["revision"]), private.strip('"'), public.strip('"')}.isdisjoint(expected):
        raise RevisionConflict(f"Other settings are in force by now, at revision {now['revision']}.", private)


def locked_row(session: Session, *more: ColumnElement[Any]) -> tuple[Values, Sequence[Any]]:
    """Lock the row and return it by name; first in every writing transaction, so that writers queue and never deadlock.

    `more` is read behind the lock too, and returned beside it. That is a statement of its own: the one that has waited
    for the lock sees other tables as they were before.

    Raises:
        SettingsMissing: somebody deleted it.
    """
    lock = [] if session.get_bind().dialect.name == "sqlite" else [LOCK]
    row = first(session, select(*SHOWN, *more), *lock).first()
    if row is None:
        raise SettingsMissing("The row of system_settings is missing; restore it, or insert one.")
    return dict(zip(NAMES, row[: len(NAMES)], strict=True)), row[len(NAMES) :]


def write(session: Session, before: Values, values: Values) -> Values:
    """Write the values that differ from the locked row's, and record that; return the row as it is then.

    Raises:
        DatabaseUnavailable: nothing records it, since the triggers are gone or disabled; the transaction is undone.
    """
    changed = {name: value for name, value in values.items() if before[name] != value}
    if not changed:
        return before
    seen = SystemSettings.revision == before["revision"]
    if session.get_bind().dialect.name == "postgresql":  # where triggers do the rest
        statement = update(SystemSettings).where(seen).values(changed).returning(*SHOWN)
        after = dict(session.execute(statement).mappings().one())
        if after["revision"] == before["revision"]:
            raise DatabaseUnavailable(UNRECORDED)
        return after
    stamp = _stamp(session, before, changed)
    session.execute(update(SystemSettings).where(seen).values(changed | stamp))
    after = {**before, **changed, **stamp}
    facts = {"revision": after["revision"], "changed_at": after["updated_at"], "values": recordable(after)}
    history.record(session, "settings", [(None, recordable(before), facts["values"])], **facts)
    return after


def _stamp(session: Session, before: Values, changed: Values) -> dict[str, Any]:
    """Return what triggers write with each change on PostgreSQL."""
    now = datetime.now(UTC)
    latest = session.scalar(select(func.max(Change.revision))) or 0  # higher where the row was inserted anew
    flipped = {"maintenance_since": now} if "is_maintain" in changed else {}
    revision = max(before["revision"], latest) + 1
    return {"revision": revision, "updated_at": now, "updated_by": author(session).actor, **flipped}


def recordable(values: Values) -> dict[str, Any]:
    """Return the settings that users may change, as JSON shows them."""
    return dump({column.key: values[column.key] for column in WRITABLE})


def log(outcome: Outcome, by: Author) -> None:
    """Log which settings a write changed; not their values, which may be private."""
    if outcome.changed:
        facts = {"revision": outcome.after["revision"], "changed": outcome.changed}
        logger.info("settings changed", extra={**facts, **by.told()})
