"""Changes to the settings row, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..database import Attribution
from ..errors import NotFound, RevisionConflict, SettingsMissing
from ..fields import parse
from ..live import writing
from ..live.snapshot import settings_document
from . import recording  # noqa: F401 - its listener records changes on SQLite
from .history import SettingsHistory, as_sent
from .models import SystemSettings, writable
from .schemas import SettingsChangeSchema


@dataclass(frozen=True)
class Change:
    """All settings before and after a write; the same where it changed nothing."""

    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The settings that the write changed; the recorded columns, which follow every change, are left out."""
        return [column.key for column in writable() if self.before[column.key] != self.after[column.key]]


def change(values: Mapping[str, Any], by: Attribution, *, expected: Collection[int] | None = None) -> Change:
    """Set the named settings, already checked; what changes nothing makes no revision.

    Raises:
        RevisionConflict: `expected` is given and does not hold the row's revision.
        SettingsMissing, InvalidInput, DatabaseUnavailable: nothing was changed.
    """
    return _change(lambda _: values, by, expected)


def revert(revision: int, by: Attribution, *, expected: Collection[int] | None = None) -> tuple[Change, list[str]]:
    """Make a new revision with the values of an old one; a setting that came later keeps its value.

    Returns: the change, and the names that the old revision has but that are no settings any more.

    Raises:
        NotFound: there is no such revision.
        RevisionConflict, SettingsMissing, DatabaseUnavailable: as for `change`.
        InvalidInput: its values are not valid by today's rules.
    """
    gone: list[str] = []

    def recorded(session: Session) -> Mapping[str, Any]:
        entry = session.get(SettingsHistory, revision)
        if entry is None:
            raise NotFound(f"There is no revision {revision}.")
        known = {column.key for column in writable()}
        gone.extend(sorted(entry.values.keys() - known))
        values = {name: as_sent(name, entry.values[name]) for name in entry.values.keys() & known}
        return parse(SettingsChangeSchema(), values)

    return _change(recorded, by, expected), gone


def _change(
    values: Callable[[Session], Mapping[str, Any]], by: Attribution, expected: Collection[int] | None
) -> Change:
    with writing(by) as session:
        row = locked_row(session)
        if expected is not None and row.revision not in expected:
            raise RevisionConflict(
                f"The settings are at revision {row.revision} by now.",
                etag=settings_document(row.values(), private=True).etag,
            )
        before = row.values()
        for name, value in values(session).items():
            setattr(row, name, value)
        session.flush()
        return Change(before, row.values())


def locked_row(session: Session) -> SystemSettings:
    """The row, locked first in every writing transaction, so that writers queue here and never deadlock.

    Raises:
        SettingsMissing: somebody deleted it.
    """
    row = session.scalars(
        select(SystemSettings).with_for_update(), execution_options={"populate_existing": True}
    ).first()
    if row is None:
        raise SettingsMissing("The row of system_settings is missing; restore it, or insert one.")
    return row
