"""The snapshot: all that a request needs, immutable but for what it remembers, with the bodies of its answers ready."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from flask import json

from ..access.tokens import Token
from ..fields import timestamp
from ..maintenance.policy import Maintenance, announced, boundaries, in_force, upcoming
from ..maintenance.schedule import Occurrence, Window, expand_all
from ..maintenance.schemas import dump_occurrence
from ..settings import schemas


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a JSON answer and the ETag that goes with them."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of Unix time, its end exclusive, in which the same is in force; `announced` is a header's value."""

    begins: float
    ends: float
    maintenance: Maintenance
    document: Document
    announced: str | None


class Timeline:
    """What is in force when, for the UTC day it was made on and three more; it keeps the phase that was asked for last.

    Only the first request of a phase, hence, looks at the windows; any other compares the time with two numbers.
    """

    def __init__(self, settings: Mapping[str, Any], windows: Iterable[Window], made_at: datetime) -> None:
        self.made_at = made_at
        self._settings = settings
        self._occurrences = expand_all(windows, made_at)
        self._phase = phase(settings, self._occurrences, made_at)

    def at(self, now: float) -> Phase:
        """The phase of a Unix time."""
        found = self._phase
        if not found.begins <= now < found.ends:
            found = self._phase = phase(self._settings, self._occurrences, datetime.fromtimestamp(now, UTC))
        return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the database: `version` is live_state's, `public` and `private` are the settings' two views.

    `tokens` are those that were not revoked, by id; `bypasses` says when each bypass token expires, by its digest.
    """

    version: int
    settings: Mapping[str, Any]
    tokens: Mapping[str, Token]
    public: Document
    private: Document
    bypasses: Mapping[str, datetime]
    windows: tuple[Window, ...]
    timeline: Timeline

    @property
    def revision(self) -> int:
        return int(self.settings["revision"])

    @property
    def phase(self) -> Phase:
        """The one in force at this moment."""
        return self.timeline.at(time.time())

    @property
    def maintenance(self) -> Maintenance:
        """What is in force at this moment."""
        return self.timeline.at(time.time()).maintenance

    def extended(self, now: datetime) -> Snapshot:
        """The same state, its windows expanded for another day."""
        return replace(self, timeline=Timeline(self.settings, self.windows, now))


def build(  # noqa: PLR0913 - one argument for each thing that can be in force
    version: int,
    settings: Mapping[str, Any],
    *,
    tokens: Mapping[str, Token],
    bypasses: Mapping[str, datetime],
    windows: Iterable[Window],
    now: datetime,
) -> Snapshot:
    """Make the snapshot of a settings row, with every value by its column's name, and of what else is in force."""
    settings, windows = MappingProxyType(dict(settings)), tuple(windows)
    return Snapshot(
        version=version,
        settings=settings,
        tokens=MappingProxyType(dict(tokens)),
        public=settings_document(settings, private=False),
        private=settings_document(settings, private=True),
        bypasses=MappingProxyType(dict(bypasses)),
        windows=windows,
        timeline=Timeline(settings, windows, now),
    )


def phase(settings: Mapping[str, Any], occurrences: Sequence[Occurrence], now: datetime) -> Phase:
    """Everything about `now` that a request needs."""
    maintenance, following = in_force(settings, occurrences, now), upcoming(occurrences, now)
    return Phase(
        *boundaries(occurrences, now),
        maintenance,
        maintenance_document(maintenance, following),
        timestamp(following.starts_at) if following and announced(following, now) else None,
    )


def settings_document(settings: Mapping[str, Any], *, private: bool) -> Document:
    """The settings as anyone sees them, or with the private ones."""
    body = schemas.dump(settings)
    if not private:
        body = {name: value for name, value in body.items() if name in schemas.PUBLIC}
    return document(body, settings["revision"])


def maintenance_document(maintenance: Maintenance, following: Occurrence | None) -> Document:
    """The contract's maintenance object."""
    body = {
        name: timestamp(value) if isinstance(value, datetime) else value for name, value in asdict(maintenance).items()
    }
    return document({**body, "next": following and dump_occurrence(following)}, maintenance.revision)


def document(body: Mapping[str, Any], revision: int) -> Document:
    """Serialize, and tag with the revision and the first 8 hex digits of the body's SHA-256."""
    content = json.dumps(body, separators=(",", ":"), sort_keys=False).encode() + b"\n"
    return Document(content, f'"{revision}-{hashlib.sha256(content).hexdigest()[:8]}"')
