"""From which states an answer may come."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from ..record import Epoch, History, Read, Write
from .disturbances import PROXY, Disturbances
from .policy import Policy
from .states import Life, States

NEVER = float("-inf")


class Progress:
    """The latest state that is known to have been reached, by time; events come in the order of their times."""

    def __init__(self, events: Iterable[tuple[float, int]] = ()) -> None:
        self._times: list[float] = []
        self._reached: list[int] = []
        for moment, index in sorted(events):
            self.add(moment, index)

    def add(self, moment: float, index: int) -> None:
        """Note that a state was reached by a moment."""
        self._times.append(moment)
        self._reached.append(max(index, self._reached[-1]) if self._reached else index)

    def before(self, moment: float) -> int:
        """Return the latest state that was reached before a moment."""
        place = bisect_left(self._times, moment)
        return self._reached[place - 1] if place else 0


@dataclass(frozen=True)
class Placed:
    """An answer, the states that it may come from, and the first one that it can come from.

    `fresh` is the first state that is new enough for everybody, `own` the first one that the worker, or every worker
    behind the proxy, had not left behind, `high` the last one that could be seen. `index` and `index_of_anybody` are
    the first that give this answer: from both on, and from `fresh` on.
    """

    read: Read
    fresh: int
    own: int
    high: int
    index: int | None
    index_of_anybody: int | None


class Bounds:
    """What is certain about the time at which each state came."""

    def __init__(self, history: History, states: States, policy: Policy, disturbances: Disturbances) -> None:
        self._states, self._policy, self._disturbances = states, policy, disturbances
        self._begun = _begun(history.writes, states)
        self._told = Progress(_told(history.writes, states))
        self._seen = Progress()
        self._workers: defaultdict[tuple[str, int], Progress] = defaultdict(Progress)
        self._last = {(read.host, read.worker): read.sent for read in history.reads if read.worker}
        self.placed = [self._place(read) for read in sorted(history.reads, key=lambda read: read.received)]

    def low(self, moment: float) -> int:
        """Return the last state that was surely committed before a moment."""
        return max(self._told.before(moment), self._seen.before(moment))

    def high(self, moment: float) -> int:
        """Return the last state whose write was sent before a moment."""
        for first, times in reversed(self._begun):
            if place := bisect_left(times, moment):
                return first + place - 1
        return 0

    def range(self, write: Write) -> range:
        """Return the states that a write can have met."""
        return range(self.low(write.sent), self.high(write.received) + 1)

    def _place(self, read: Read) -> Placed:
        """Place an answer. Reads come in the order of their answers, since each is evidence for later ones."""
        own = self._workers[read.host, read.worker]
        fresh, high = self.low(self._disturbances.threshold(read)), self.high(read.received)
        left = self._left(read)
        if not is_answer(read):
            return Placed(read, fresh, left, high, None, None)
        anybody = self._policy.first_match(read, fresh, high)
        index = anybody if anybody is None or anybody >= left else self._policy.first_match(read, left, high)
        if index is not None:
            own.add(read.received, index)
            self._seen.add(read.received, index)
        return Placed(read, fresh, left, high, index, anybody)

    def _left(self, read: Read) -> int:
        """Return a state that whoever answers had reached; by the proxy that may be any worker that still answers."""
        if read.host != PROXY:
            return self._workers[read.host, read.worker].before(read.sent) if read.worker else 0
        if read.question != "platform" or self._disturbances.excuse(read, starts=True):
            return 0
        decided = self._disturbances.decided(read)
        alive = (worker for worker, last in self._last.items() if last >= decided)
        return min((self._workers[worker].before(decided) for worker in alive), default=0)


def is_answer(read: Read) -> bool:
    """Whether a read got what it asked for: the settings, what is in force, or the gate's verdict."""
    if read.question in ("settings", "maintenance"):
        return read.status == 200
    return read.status == 200 or (read.status in (403, 503) and read.answer.get("code") in _refusals(read))


def _refusals(read: Read) -> tuple[str | None, ...]:
    """Return the codes of refusals. By a kept verdict the proxy refuses also while nobody can say why, or no longer."""
    return ("maintenance", "unavailable", None) if read.host == PROXY else ("maintenance",)


def changes_over(epoch: Epoch, begin: float, end: float) -> bool:
    """Whether this copy came into force, or may have, between two moments."""
    return epoch.number > 0 and epoch.begin <= end and begin <= epoch.end


def _begun(writes: Iterable[Write], states: States) -> list[tuple[int, list[float]]]:
    """Return for each life its first state, and the earliest times of its states: commits are in their order."""
    sent = {write.id: write.sent for write in writes}
    return [(life.first, list(accumulate(_sent(life, sent, states), max))) for life in states.lives]


def _sent(life: Life, sent: dict[str, float], states: States) -> Iterable[float]:
    begin = life.epoch.begin if life.epoch.number else NEVER
    for step in states.steps[life.first :]:
        if step.epoch != life.epoch.number:
            return
        yield max(begin, sent.get(step.reason or "", NEVER))


def _told(writes: Iterable[Write], states: States) -> Iterable[tuple[float, int]]:
    """Yield by when states were surely there: an acknowledged write, and a copy that is in force."""
    for write in writes:
        index = states.made_by(write.id)
        if write.outcome == "acknowledged" and index is not None:
            yield write.received, index
    for life in states.lives[1:]:
        yield life.epoch.end, life.first
