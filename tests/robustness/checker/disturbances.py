"""When a worker could not be expected to hear of changes, or to answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache

from ..record import Fault, History, Read, Stall, Worker, Write

LIMIT = 5.0  # seconds after which every worker has heard of a change
KEPT = 2.5  # seconds that a verdict may be kept by the proxy
STARTING = 3.0  # seconds that a worker may take before it is seen
PROXY = "proxy"
SILENT = ("host", "worker", "proxy")  # scopes of faults during which nobody may be there to answer
Interval = tuple[float, float]


class Clock:
    """Counts seconds without those in which the machine let the test itself wait."""

    def __init__(self, stalls: Iterable[Stall]) -> None:
        self._stalls = merged((stall.begin, stall.end) for stall in stalls)

    def earlier(self, moment: float, seconds: float) -> float:
        """Return the moment that lies so many seconds before another, stalls not counted."""
        for begin, end in reversed(self._stalls):
            worked = moment - min(end, moment)
            if worked > seconds:
                break
            if begin < moment:
                seconds, moment = seconds - worked, begin
        return moment - seconds

    def later(self, moment: float, seconds: float) -> float:
        """Return the moment that lies so many seconds after another, stalls not counted."""
        for begin, end in self._stalls:
            worked = max(begin, moment) - moment
            if worked > seconds:
                break
            if end > moment:
                seconds, moment = seconds - worked, end
        return moment + seconds


class Disturbances:
    """The faults of a history, by whom they concern."""

    def __init__(self, history: History) -> None:
        self.clock = Clock(history.stalls)
        self._faults, self._workers = history.faults, history.workers
        self._homes = {str(worker.worker): worker.host for worker in history.workers}
        self._chains = cache(self._find)

    def threshold(self, read: Read) -> float:
        """Return a moment whose state, or a later one, the asked worker has to know.

        While it is disturbed that is the one at the beginning of the disturbance, or of the first one of several that
        followed each other too quickly for it to catch up.
        """
        chain = _covering(self._chains(read.host, read.worker, starts=True), read.sent, read.sent)
        return self.clock.earlier(chain[0] if chain else read.sent, _limit(read.host))

    def decided(self, read: Read) -> float:
        """Return the earliest moment at which an answer may have been decided: the proxy keeps verdicts."""
        if read.host != PROXY:
            return read.sent
        chain = _covering(self._chains(read.host, read.worker, starts=True, silent=True), read.sent, read.sent)
        return self.clock.earlier(chain[0] if chain else read.sent, KEPT)

    def excuse(self, read: Read, *, starts: bool = False) -> bool:
        """Whether no answer was to be expected, since the worker itself was disturbed, or, with `starts`, has started.

        A worker needs no database to answer, so that a fault of that is no reason.
        """
        chains = self._chains(read.host, read.worker, starts=starts, silent=True)
        return _covering(chains, read.sent, read.received) is not None

    def may_not_know(self, read: Read) -> bool:
        """Whether a worker that has just started may have found no database to learn the state from."""
        chains = self._chains(read.host, read.worker, starts=True)
        return _covering(chains, read.sent, read.received) is not None

    def over(self, write: Write) -> bool:
        """Whether anything was disturbed when a write was called, or shortly before."""
        return _covering(self._chains(PROXY, 0, starts=False), write.sent, write.received) is not None

    def slow(self, read: Read) -> bool:
        """Whether an answer took longer than anybody may have to wait for it."""
        return self.clock.later(read.sent, LIMIT) < read.received

    def _find(self, host: str, worker: int, *, starts: bool, silent: bool = False) -> list[Interval]:
        """Return when a worker was disturbed; `silent` leaves out what only keeps it from the database."""
        faults = [fault for fault in self._faults if not silent or fault.scope.partition(" ")[0] in SILENT]
        found = [(fault.begin, fault.end) for fault in faults if self._concerns(fault, host, worker)]
        if starts:
            born = (known.since for known in self._workers if _same(known, host, worker))
            found += [(since - STARTING, since) for since in born]
        return merged((begin, self.clock.later(end, _limit(host))) for begin, end in found)

    def _concerns(self, fault: Fault, host: str, worker: int) -> bool:
        if fault.scope == "nobody":
            return False
        if host == PROXY or fault.scope in ("database", f"host {host}", f"network {host}"):
            return True
        kind, _, name = fault.scope.partition(" ")
        if kind != "worker":
            return False
        return name == str(worker) if worker else self._homes.get(name, host) == host


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same moments as intervals that do not touch, in order."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def _same(known: Worker, host: str, worker: int) -> bool:
    return host == PROXY or (known.host == host and worker in (0, known.worker))


def _limit(host: str) -> float:
    return LIMIT + (KEPT if host == PROXY else 0)


def _covering(chains: Sequence[Interval], begin: float, end: float) -> Interval | None:
    """Return the first of these intervals that overlaps the one from begin to end."""
    place = max(0, bisect_right(chains, (begin, float("inf"))) - 1)
    return next((chain for chain in chains[place : place + 2] if chain[0] <= end and begin <= chain[1]), None)
