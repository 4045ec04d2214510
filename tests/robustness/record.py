"""The record of a run: each call with its answer and times, each fault, and what the databases hold afterwards.

One JSON object a line, with the name of its class as `record`, in the order in which things ended. All times are
seconds of one clock that nothing sets, which began as the Unix time: times of the host's clock may be compared with it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["acknowledged", "refused", "unknown"]
_BEGAN = time.time() - time.monotonic()


def now() -> float:
    return _BEGAN + time.monotonic()


@dataclass(frozen=True)
class Write:
    """One call that asked for a change.

    `id` is its own; `changes` has it as the reason where the change was made. `author` is who `changes` must name.
    `kind` is one of `patch`, `switch`, `restore`, `undo`, `plan`, `cancel`, `create_token`, `revoke_token`. `asked` has
    what was asked for: `if_match` (a number, or None for any) and `values` of a patch, `active`, `mode` and `message`
    of a switch, `revision` of restore and undo, `starts_at`, `ends_at`, `mode` and `message` of a plan or of a switch
    with an end (times; True where it was to end after some seconds), `window` (its id) of a cancellation, `token` (its
    name) where one is made or revoked. `token` is the name of that which it was sent with, None for the bootstrap
    token, psql and the command line.

    `outcome`: `acknowledged`; `refused`, where the caller was told that nothing was done; `unknown`, where it was not
    told, or told to look before it tries again. `status` is that of HTTP or the exit code, None where there was none.
    `answer` has what of the answer counts: `revision`, `is_maintain`, `maintenance_mode`, `maintenance_message`,
    `active`, `id` of a window, `code` and `detail` of a problem, `etag_revision` of a 412.
    """

    id: str
    client: str
    kind: str
    author: str
    sent: float
    received: float
    outcome: Outcome
    status: int | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    token: str | None = None


@dataclass(frozen=True)
class Read:
    """One question to one worker, or through the proxy, and its answer.

    `host` is its name, `proxy` for the one before all; `worker` the number of its process, 0 where that is not known.
    `question` is `settings`, `maintenance`, `gate` or `platform` (a page behind the proxy). `method` is that which the
    gate decides about, `bypass` the name of a token that came with it. `after` is the id of a write that the same
    worker has acknowledged just before. `status` is None where no answer came. `answer` has `revision`, `is_maintain`,
    `maintenance_mode` and `maintenance_message` of settings; `active`, `mode`, `message`, `source` and `revision` of
    maintenance; `code` of a refusal. `at_the_end` are the questions after everything was mended.
    """

    host: str
    worker: int
    question: str
    sent: float
    received: float
    status: int | None
    answer: dict[str, Any] = field(default_factory=dict)
    method: str = "GET"
    bypass: str | None = None
    after: str | None = None
    at_the_end: bool = False


@dataclass(frozen=True)
class Worker:
    """A worker process that was seen for the first time at `since`; it began a moment earlier."""

    host: str
    worker: int
    since: float


@dataclass(frozen=True)
class Fault:
    """What was done to the system, from `begin` until all of it was mended, at `end`.

    `scope` says whom it keeps from the database: `database` is everybody, `network A` the workers of that host; or from
    working: `host A` all its workers, `worker 123` that process, `proxy` only who asks through the proxy. `nobody` has
    an excuse.
    """

    kind: str
    scope: str
    begin: float
    end: float
    told: str = ""


@dataclass(frozen=True)
class Epoch:
    """One life of the database: the first, and each copy that took its place.

    The copy came into force between `begin` and `end`. It has what was committed before `kept`, a time, and perhaps
    more; `lossless` says that it has everything that was acknowledged before. `changes` are the rows of that table, in
    their order, as they were when the epoch was over or the run ended: columns by name, times as Unix times. They begin
    with the first change ever, so that those of two epochs begin alike.
    """

    number: int
    why: str
    begin: float
    end: float
    kept: float
    lossless: bool
    changes: list[dict[str, Any]]


@dataclass(frozen=True)
class Line:
    """A line of a host's log, by the recording clock."""

    host: str
    at: float
    level: str
    event: str


@dataclass(frozen=True)
class Stall:
    """A time in which the machine let the test itself wait, so that nobody else can be blamed for waiting."""

    begin: float
    end: float


@dataclass(frozen=True)
class Run:
    """Which plan it was."""

    seed: int
    topology: str
    seconds: float


Event = Write | Read | Worker | Fault | Epoch | Line | Stall | Run
KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Write, Read, Worker, Fault, Epoch, Line, Stall, Run)}


@dataclass
class History:
    """A record, by kind, each in the order of its beginning."""

    run: Run
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)


class Recorder:
    """Writes events down as they come, from any thread."""

    def __init__(self, path: Path) -> None:
        self._file, self._lock = path.open("w"), threading.Lock()

    def __call__(self, event: Event) -> None:
        line = json.dumps({"record": type(event).__name__, **asdict(event)})
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        self._file.close()


def load(path: Path) -> History:
    """Read a record."""
    with path.open() as lines:
        return history(_event(json.loads(line)) for line in lines)


def _event(told: dict[str, Any]) -> Event:
    event: Event = KINDS[told.pop("record")](**told)
    return event


def history(events: Iterable[Event]) -> History:
    """Sort events by kind and time."""
    by_kind: dict[type[Any], list[Any]] = {kind: [] for kind in KINDS.values()}
    for event in events:
        by_kind[type(event)].append(event)
    [run] = by_kind[Run]
    return History(
        run,
        sorted(by_kind[Write], key=lambda write: write.sent),
        sorted(by_kind[Read], key=lambda read: read.sent),
        sorted(by_kind[Worker], key=lambda worker: worker.since),
        sorted(by_kind[Fault], key=lambda fault: fault.begin),
        sorted(by_kind[Epoch], key=lambda epoch: epoch.number),
        sorted(by_kind[Line], key=lambda line: line.at),
        sorted(by_kind[Stall], key=lambda stall: stall.begin),
    )
