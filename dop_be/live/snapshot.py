"""The snapshot: everything a request needs, immutable except for one cached value; response bodies are pre-rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..access.tokens import Token, Tokens
from ..documents import Document, document
from ..maintenance.schedule import Window
from ..maintenance.schemas import dump_window
from ..maintenance.timeline import Phase, Timeline
from ..settings.schemas import settings_document


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the database stands: while none of it has changed, what was loaded is current.

    `row` is PostgreSQL's `xmin` of the settings row, which changes also where a writer turned the triggers off; null on
    SQLite.
    """

    version: int
    alembic_revision: str | None
    revision: int
    row: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the database. `public` and `private` are the settings' two views; components are rows by name."""

    mark: Mark
    settings: Mapping[str, Any]
    public: Document
    private: Document
    tokens: Tokens
    windows: tuple[Window, ...]
    components: Mapping[str, Mapping[str, Any]]
    planned: Document
    timeline: Timeline

    @property
    def version(self) -> int:
        """The version of the database that this is."""
        return self.mark.version

    def at(self, now: float) -> Phase:
        """Return what is in force at a Unix time."""
        return self.timeline.at(now)


def build(
    mark: Mark,
    settings: Mapping[str, Any],
    *,
    tokens: Iterable[Token],
    windows: Iterable[Window],
    components: Iterable[Mapping[str, Any]],
) -> Snapshot:
    """Make the snapshot of a settings row, with every value by its column's name, and of what else is in force."""
    settings, windows = MappingProxyType(dict(settings)), tuple(windows)
    parts = MappingProxyType({component["name"]: component for component in components})
    return Snapshot(
        mark=mark,
        settings=settings,
        public=settings_document(settings, private=False),
        private=settings_document(settings, private=True),
        tokens=MappingProxyType({token.id: token for token in tokens}),
        windows=windows,
        components=parts,
        planned=document({"windows": [dump_window(window) for window in windows]}),
        timeline=Timeline(settings, windows, parts),
    )
