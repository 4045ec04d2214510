"""What is in force when: everything that a request needs to know about a moment. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..documents import Document, document
from ..fields import timestamp, with_timestamps
from .policy import Maintenance, announced, announcements, boundaries, in_force, upcoming
from .schedule import Expanded, Occurrence, Window, expand_all, midnight
from .schemas import dump_occurrence

A_DAY = timedelta(days=1)
AHEAD = timedelta(minutes=10)  # before a day begins


NO_COMPONENTS: Mapping[str, Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of Unix time, its end exclusive, in which the same is in force and announced.

    It is the platform's, or a component's. `announced` is a header's value, `coming` what a page tells of the next 24
    hours; `closed`, of the platform's, are the components in maintenance of their own.
    """

    begins: float
    ends: float
    maintenance: Maintenance
    document: Document
    announced: str | None
    coming: tuple[Occurrence, ...] = ()
    component: str | None = None
    closed: frozenset[str] = frozenset()


class Timeline:
    """What is in force when. It keeps the phases that were asked for last.

    The first request in a phase evaluates the windows; later ones only compare the clock with two numbers.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        windows: Iterable[Window],
        components: Mapping[str, Mapping[str, Any]] = NO_COMPONENTS,
    ) -> None:
        self._settings, self._windows, self._components = settings, tuple(windows), components
        self._phase: Phase | None = None
        self._phases: dict[str, Phase] = {}
        self._listed: tuple[float, float, Document] | None = None
        self._days: dict[datetime, Expanded] = {}

    def at(self, now: float) -> Phase:
        """Return the platform's phase of a Unix time."""
        found = self._phase
        if found is None or not found.begins <= now < found.ends:
            moment = datetime.fromtimestamp(now, UTC)
            found = self._phase = phase(self._settings, self._expand(moment), moment, self._components)
        return found

    def of(self, component: str, now: float) -> Phase:
        """Return a component's phase of a Unix time; that of the platform where there is no component of this name."""
        found = self._phases.get(component)
        if found is None or not found.begins <= now < found.ends:
            row, moment = self._components.get(component), datetime.fromtimestamp(now, UTC)
            if row is None:
                return self.at(now)
            found = self._phases[component] = component_phase(self._settings, row, self._expand(moment), moment)
        return found

    def listed(self, now: float) -> Document:
        """Return the contract's list of components, each with what is in force for it at a Unix time."""
        found = self._listed
        if found is None or not found[0] <= now < found[1]:
            phases = {name: self.of(name, now) for name in self._components}
            begins = max((each.begins for each in phases.values()), default=-math.inf)
            ends = min((each.ends for each in phases.values()), default=math.inf)
            found = self._listed = (begins, ends, components_document(self._components, phases))
        return found[2]

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


def phase(
    settings: Mapping[str, Any],
    expanded: Expanded,
    moment: datetime,
    components: Mapping[str, Mapping[str, Any]] = NO_COMPONENTS,
) -> Phase:
    """Return what is in force for the platform at a moment of the UTC day for which the windows were expanded.

    It ends with that day, and with each change to which components are closed.
    """
    ours = _of(expanded, None)
    maintenance, following = in_force(settings, ours, moment), upcoming(ours, moment)
    closed = sorted({name for name, row in components.items() if row["is_maintain"]} | _open(expanded, moment))
    return Phase(
        *_limits(expanded, expanded.occurrences, moment),
        maintenance,
        maintenance_document(maintenance, following, closed),
        _announced(following, moment),
        announcements(expanded.occurrences, moment),
        closed=frozenset(closed),
    )


def component_phase(
    settings: Mapping[str, Any], component: Mapping[str, Any], expanded: Expanded, moment: datetime
) -> Phase:
    """Return what is in force for a component, whose row this is; what closes the platform closes it too."""
    name, platform = component["name"], _of(expanded, None)
    both = _of(expanded, None, name)
    maintenance, following = in_force(settings, both, moment, component), upcoming(both, moment)
    state = with_timestamps(asdict(maintenance))
    del state["revision"]
    closed = in_force(settings, platform, moment).active
    body = {"component": name, **state, "next": following and dump_occurrence(following), "platform": closed}
    return Phase(
        *_limits(expanded, both, moment),
        maintenance,
        document(body, untagged=("next",)),
        _announced(following, moment),
        announcements(both, moment),
        name,
    )


def maintenance_document(
    maintenance: Maintenance, following: Occurrence | None, components: Sequence[str] = ()
) -> Document:
    """Return the contract's maintenance object; its ETag tells what is in force, not what comes next."""
    body = with_timestamps(asdict(maintenance)) | {"next": following and dump_occurrence(following)}
    return document(body | {"components": list(components)}, untagged=("next", "revision"))


def components_document(components: Mapping[str, Mapping[str, Any]], phases: Mapping[str, Phase]) -> Document:
    """Return the contract's list of components."""
    listed = [
        {"name": name, "title": title(row), "maintenance": json.loads(phases[name].document.body)}
        for name, row in components.items()
    ]
    return document({"components": listed})


def title(component: Mapping[str, Any]) -> str:
    """Return what people see of a component."""
    return str(component["title"] or component["name"])


def _of(expanded: Expanded, *components: str | None) -> list[Occurrence]:
    return [found for found in expanded.occurrences if found.window.component in components]


def _open(expanded: Expanded, moment: datetime) -> set[str]:
    """Return which components have a window of their own open."""
    return {
        found.window.component for found in expanded.occurrences if found.window.component and found.is_open(moment)
    }


def _limits(expanded: Expanded, occurrences: Sequence[Occurrence], moment: datetime) -> tuple[float, float]:
    begins, ends = boundaries(occurrences, moment)
    return max(begins, expanded.day.timestamp()), min(ends, (expanded.day + A_DAY).timestamp())


def _announced(following: Occurrence | None, moment: datetime) -> str | None:
    return timestamp(following.starts_at) if following and announced(following, moment) else None
