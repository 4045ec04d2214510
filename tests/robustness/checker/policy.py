"""What states answer: the policy called as a pure function on what was recorded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from dop_be.access.tokens import Token
from dop_be.maintenance.policy import Maintenance, in_force, lets_through
from dop_be.maintenance.schedule import expand_all

from ..record import Read
from .disturbances import PROXY, Disturbances
from .states import State, States

TOLERANCE = 1.0  # seconds either way, when windows open and close and tokens expire
SETTINGS = ("revision", "release", "is_maintain", "maintenance_mode", "maintenance_message")
MAINTENANCE = ("active", "mode", "message", "source", "revision")


class Phases:
    """What one state puts in force from one boundary of its windows to the next."""

    def __init__(self, state: State, day: datetime) -> None:
        self._settings, self._day = state.settings, day
        self._occurrences = expand_all(state.windows.values(), day).occurrences
        moments = {moment for found in self._occurrences for moment in (found.starts_at, found.ends_at)}
        self._moments = sorted(moments)
        self._bounds = [moment.timestamp() for moment in self._moments]
        self._known: dict[int, Maintenance] = {}

    def between(self, begin: float, end: float) -> Iterator[Maintenance]:
        """Yield what is in force at some time between two moments, in order."""
        for place in range(bisect_right(self._bounds, begin), bisect_right(self._bounds, end) + 1):
            yield self._known.get(place) or self._evaluate(place)

    def _evaluate(self, place: int) -> Maintenance:
        """Evaluate the policy after the boundary with this place, counted from 1; 0 is before all of them."""
        before = min([self._day, *self._moments[:1]]) - timedelta(seconds=1)
        moment = self._moments[place - 1] if place else before
        return self._known.setdefault(place, in_force(self._settings, self._occurrences, moment))


class Policy:
    """Compares answers with states, by their index."""

    def __init__(self, states: States, disturbances: Disturbances, begin: float) -> None:
        self._disturbances = disturbances
        self._states, self._day = states, datetime.fromtimestamp(begin, UTC)
        self._phases: dict[int, Phases] = {}
        self._by_revision: dict[int, list[int]] = {}
        for step in states.steps:
            self._by_revision.setdefault(step.state.settings["revision"], []).append(step.index)

    def first_match(self, read: Read, low: int, high: int) -> int | None:
        """Return the first state from low to high that gives a read's answer."""
        return next((index for index in self._candidates(read, low, high) if self._gives(index, read)), None)

    def meanwhile(self, index: int, begin: float, end: float) -> Iterator[Maintenance]:
        """Yield what a state puts in force between two moments, or nearly so."""
        phases = self._phases.get(index)
        if phases is None:
            phases = self._phases[index] = Phases(self._states.steps[index].state, self._day)
        return phases.between(begin - TOLERANCE, end + TOLERANCE)

    def _candidates(self, read: Read, low: int, high: int) -> list[int] | range:
        """Return the states to look at; where an answer tells its revision there are few."""
        if read.question not in ("settings", "maintenance"):
            return range(low, high + 1)
        known = self._by_revision.get(read.answer.get("revision", -1), [])
        return known[bisect_left(known, low) : bisect_right(known, high)]

    def _gives(self, index: int, read: Read) -> bool:
        state = self._states.steps[index].state
        if read.question == "settings":
            return all(_equal(read.answer.get(name), state.settings.get(name)) for name in SETTINGS)
        meanwhile = self.meanwhile(index, self._disturbances.decided(read), read.received)
        if read.question == "maintenance":
            told = [read.answer.get(name) for name in MAINTENANCE]
            return any(told == [getattr(found, name) for name in MAINTENANCE] for found in meanwhile)
        passed, bypasses = read.status == 200, self._bypass(state, read)
        return any(passed in _verdicts(found, read.method, bypasses) for found in meanwhile)

    def _bypass(self, state: State, read: Read) -> set[bool]:
        """Return whether a read's bypass is in force; the proxy cannot know where nobody answers it."""
        token: Token | None = state.tokens.get(read.bypass) if read.bypass else None
        if token is None or not token.bypasses:
            return {False}
        found = {not token.is_over(moment) for moment in (read.sent - TOLERANCE, read.received + TOLERANCE)}
        return found | {False} if read.host == PROXY and self._disturbances.excuse(read) else found


def _verdicts(maintenance: Maintenance, method: str, bypasses: set[bool]) -> set[bool]:
    """Return whether a request may pass, both where its bypass expires just then."""
    return {True} if lets_through(maintenance, method, preflight=False) else bypasses


def _equal(told: Any, known: Any) -> bool:
    return type(told) is type(known) and bool(told == known)
