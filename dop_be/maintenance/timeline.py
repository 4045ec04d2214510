"""What is in force when: everything that a request needs to know about a moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..documents import Document, document
from ..fields import timestamp, with_timestamps
from .policy import Maintenance, announced, boundaries, in_force, upcoming
from .schedule import Expanded, Occurrence, Window, expand_all, midnight
from .schemas import dump_occurrence

A_DAY = timedelta(days=1)
AHEAD = timedelta(minutes=10)  # before a day begins


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of Unix time, its end exclusive, in which the same is in force; `announced` is a header's value."""

    begins: float
    ends: float
    maintenance: Maintenance
    document: Document
    announced: str | None


class Timeline:
    """What is in force when. It keeps the phase that was asked for last.

    The first request in a phase evaluates the windows; later ones only compare the clock with two numbers.
    """

    def __init__(self, settings: Mapping[str, Any], windows: Iterable[Window]) -> None:
        self._settings, self._windows = settings, tuple(windows)
        self._phase: Phase | None = None
        self._days: dict[datetime, Expanded] = {}

    def at(self, now: float) -> Phase:
        """Return the phase of a Unix time."""
        found = self._phase
        if found is None or not found.begins <= now < found.ends:
            moment = datetime.fromtimestamp(now, UTC)
            found = self._phase = phase(self._settings, self._expand(moment), moment)
        return found

    def prepare(self, now: float) -> None:
        """Expand the windows for the day that is about to begin, so that its first request need not."""
        self._expand(datetime.fromtimestamp(now, UTC) + AHEAD)

    def _expand(self, moment: datetime) -> Expanded:
        day = midnight(moment)
        found = self._days.get(day)
        if found is None:
            found = expand_all(self._windows, moment)
            self._days = {kept: known for kept, known in self._days.items() if day - kept <= A_DAY} | {day: found}
        return found


def phase(settings: Mapping[str, Any], expanded: Expanded, moment: datetime) -> Phase:
    """Return what is in force at a moment of the UTC day for which the windows were expanded; it ends with that day."""
    occurrences = expanded.occurrences
    begins, ends = boundaries(occurrences, moment)
    maintenance, following = in_force(settings, occurrences, moment), upcoming(occurrences, moment)
    return Phase(
        max(begins, expanded.day.timestamp()),
        min(ends, (expanded.day + A_DAY).timestamp()),
        maintenance,
        maintenance_document(maintenance, following),
        timestamp(following.starts_at) if following and announced(following, moment) else None,
    )


def maintenance_document(maintenance: Maintenance, following: Occurrence | None) -> Document:
    """Return the contract's maintenance object; its ETag tells what is in force, not what comes next."""
    body = with_timestamps(asdict(maintenance)) | {"next": following and dump_occurrence(following)}
    return document(body, untagged=("next", "revision"))
