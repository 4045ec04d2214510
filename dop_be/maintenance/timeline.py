"""What is in force when: everything that a request needs to know about a moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..documents import Document, document
from ..fields import timestamp, with_timestamps
from .policy import Maintenance, announced, boundaries, in_force, upcoming
from .schedule import Occurrence, Window, expand_all
from .schemas import dump_occurrence


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

    def at(self, now: float) -> Phase:
        """Return the phase of a Unix time."""
        found = self._phase
        if found is None or not found.begins <= now < found.ends:
            found = self._phase = phase(self._settings, self._windows, now)
        return found


def phase(settings: Mapping[str, Any], windows: Sequence[Window], now: float) -> Phase:
    """Return what is in force at a Unix time. A phase lies within one UTC day, for which the windows are expanded."""
    moment = datetime.fromtimestamp(now, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    occurrences = expand_all(windows, moment)
    begins, ends = boundaries(occurrences, moment)
    maintenance, following = in_force(settings, occurrences, moment), upcoming(occurrences, moment)
    return Phase(
        max(begins, midnight.timestamp()),
        min(ends, (midnight + timedelta(days=1)).timestamp()),
        maintenance,
        maintenance_document(maintenance, following),
        timestamp(following.starts_at) if following and announced(following, moment) else None,
    )


def maintenance_document(maintenance: Maintenance, following: Occurrence | None) -> Document:
    """Return the contract's maintenance object; its ETag tells what is in force, not what comes next."""
    body = with_timestamps(asdict(maintenance)) | {"next": following and dump_occurrence(following)}
    return document(body, untagged=("next", "revision"))
