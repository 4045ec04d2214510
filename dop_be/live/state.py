"""The live state of a process: the snapshot that requests read, and what the last look at the database found."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ..database import drop_connections
from ..deadline import Timeout
from ..failures import cause, words
from .clock import Clock, boot, host, steady
from .keeper import Keeper
from .last_state import About, Identity
from .lineage import Lineage
from .loader import Reading, read, read_through
from .server import Server
from .snapshot import Mark, Snapshot
from .sources import ERRORS, ChangeSource
from .state_file import StateFile
from .status import Status
from .warmer import Warmer
from .watcher import LAST_WAIT, Watcher

FIRST_READING_SECONDS = 2.0  # how long a starting worker waits for its first snapshot before it serves without one
LOST = "lost the database, the last known state stays in force"
UNREACHED = "the database does not answer, and no state is known yet"

# Told after a swap: the snapshot before, None at first, and the one that is in force now.
Subscriber = Callable[[Snapshot | None, Snapshot], None]
logger = logging.getLogger(__name__)


class Live:
    """Holds the snapshot that requests read, and keeps it fresh through a watcher once started.

    `watching` makes the watcher's own connection; where that is LISTEN_DATABASE_URL's, `fallback` makes DATABASE_URL's.
    """

    def __init__(
        self, engine: Engine, watching: Engine, fallback: Engine | None = None, file: StateFile | None = None
    ) -> None:
        self.engine, self.watching, self.fallback, self._file = engine, watching, fallback, file
        self.snapshot: Snapshot | None = None
        self.status = Status()
        self._subscribers: list[Subscriber] = []
        self._watcher: Watcher | None = None
        self._keeper: Keeper | None = None
        self._warmer: Warmer | None = None
        self.lineage = Lineage()
        self.server: Server | None = None  # the last one that answered
        # Which database answers, once it was asked, and which one the snapshot is from; it need not say.
        self._answering: tuple[Identity | None] | None = None
        self._identity: tuple[Identity | None] | None = None
        self._starting = threading.Lock()
        self._stopping = False
        self._looked = threading.Event()
        self._swapping = threading.Lock()  # held where snapshot or status change
        self._telling = threading.Lock()  # held from a swap until all are told, so that they hear in its order
        self._begun, self._begun_at_swap = 0, 0  # how many readings have begun, by now and at the last swap
        self.clock = Clock()
        self.now = self.clock.now

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call this after each swap, in the thread that swapped: be quick. What it raises is only logged."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Start the watcher of this process, once. Wait a little for its first reading, else take the last state."""
        with self._starting:
            if self._watcher is None or not self._watcher.is_alive():
                self._stopping = False
                if self._file is not None:
                    self.lineage.remember(self._file.identity())
                self._watcher = Watcher(self)
                self._watcher.start()
                if self.engine.dialect.name != "sqlite":
                    self._warmer = Warmer(self.engine)
                    self._warmer.start()
                if self._file is not None and (self._keeper is None or not self._keeper.is_alive()):
                    self._keeper = Keeper(self._file, self._to_keep)
                    self._keeper.start()
                self._looked.wait(FIRST_READING_SECONDS)
                if self._file is not None and self.status.confirmed_at is None:
                    self._take_last_state(self._file)

    def stop(self) -> None:
        """End the watcher and close every connection."""
        with self._starting:
            self._stopping = True  # this cuts off the watcher's question, which is not a loss
            if self._watcher is not None:
                self._watcher.stop()
            if self._warmer is not None:
                self._warmer.stop()
            if self._keeper is not None:
                self._keeper.stop(LAST_WAIT)
            self._watcher = self._keeper = self._warmer = None
        self.engine.dispose()

    @property
    def mark(self) -> Mark | None:
        """What the snapshot was loaded for; None where the last look found no complete state."""
        return self.snapshot.mark if self.snapshot is not None and self.status.complete else None

    def refresh(self, source: ChangeSource | None = None, seconds: float | None = None) -> bool:
        """Look at the database and take what it says; whether that was a complete state. `status` keeps failures.

        Through a source's own connection it may take so many seconds.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the source's own connection is lost.
        """
        began = self.begin()
        through = source.connection if source is not None else None
        try:
            reading = read(self.engine) if through is None else read_through(through, seconds)
        except SQLAlchemyError as error:
            if through is not None and through.invalidated:
                raise
            self._fail(error)
            return False
        self.take(reading, began)
        return reading.snapshot is not None

    def confirm(self, lag: float | None = None) -> None:
        """Note that the database was just asked, and that the snapshot is what it says; a replica may be late."""
        with self._swapping:
            self.status = replace(self.status, error=None, confirmed_at=time.monotonic() - (lag or 0.0), lag=lag)
        if self.snapshot is not None:
            self.snapshot.timeline.prepare(self.now())

    def lose(self, error: Exception) -> None:
        """Note that the connection to the database is lost, or cannot be had; the snapshot stays."""
        self._fail(error)
        with self._swapping:
            self._answering = None
        if isinstance(cause(error), Timeout):  # a server that is silent may have a successor
            for engine in filter(None, (self.engine, self.watching, self.fallback)):
                drop_connections(engine)

    def _fail(self, error: Exception) -> None:
        """Note that the database does not answer. Log it once, and a fault of our own in full."""
        if self.status.error is None and not self._stopping:
            fault = None if isinstance(error, ERRORS) else error
            said = UNREACHED if self.snapshot is None else LOST
            logger.warning("%s: %s", said, words(error), exc_info=fault)
        with self._swapping:
            self.status = replace(self.status, error=error)
            self._expire()
        if self.snapshot is not None:
            self.snapshot.timeline.prepare(self.now())
        self._looked.set()

    def _expire(self) -> None:
        """Forget a last state that is too old."""
        age = time.monotonic() - (self.status.confirmed_at or 0.0)
        if self._file is not None and self.status.source == "last_state" and age > self._file.max_age:
            self.snapshot, self.status = None, replace(self.status, confirmed_at=None, source=None)
            logger.warning("the last state is older than STATE_MAX_AGE and no longer in force")

    def follow(self, source: ChangeSource) -> None:
        """Note which server answers, before the first look at it, and have a connection to it ready for writes."""
        self.server = source.server
        identity = source.server.identity if source.server else None
        self.lineage.follow(source.name, identity)
        with self._swapping:
            self._answering = (identity,)
        if self._warmer is not None:
            self._warmer.warm()

    @property
    def unkept(self) -> str | None:
        """Why the last state cannot be kept, in the rest of a sentence; None where it is, or shall not be."""
        return self._keeper.fault if self._keeper is not None else None

    def begin(self) -> int:
        """Give a number to a reading that begins now, for `take`."""
        with self._swapping:
            self._begun += 1
            return self._begun

    def take(self, reading: Reading, began: int) -> None:
        """Note what a reading found, and put its snapshot in force unless a newer one is.

        Raises:
            ValueError, OverflowError: SQL left windows that Python cannot hold; nothing is noted.
        """
        snapshot = reading.snapshot
        if snapshot is not None:
            snapshot.at(self.now())  # evaluate the windows here, and not in the next request
        with self._telling:
            with self._swapping:
                before, was = self.snapshot, self.status
                swapped = snapshot is not None and self._swap(snapshot, began)
                self.status = was.after(reading)
                if reading.clock_offset is not None:
                    self.clock.measure(reading.clock_offset, reading.ours)
                self._identity = self._answering
                self._expire()
            self._looked.set()
            if swapped or (snapshot is None and reading.last_change is not None):  # an older reading knows less
                self.lineage.see(reading.last_change)
            if was.error is not None:
                logger.info("the database answers again")
            if snapshot is None and (was.complete or was.confirmed_at is None):
                why = f": {words(reading.fault)}" if reading.fault else ""
                logger.warning("the database has no settings row that this release can read%s", why)
            if swapped and snapshot is not None:
                self._tell(before, snapshot)

    def _swap(self, snapshot: Snapshot, began: int) -> bool:
        """Put a snapshot in force, unless its reading began before the last swap and its version is no higher."""
        before = self.snapshot
        if before is not None and snapshot.mark.version <= before.mark.version and began <= self._begun_at_swap:
            return False
        if before is not None and snapshot.mark.version < before.mark.version:
            logger.warning("the database went back from version %d to %d", before.mark.version, snapshot.mark.version)
        self.snapshot = snapshot
        self._begun_at_swap = self._begun
        return True

    def _tell(self, before: Snapshot | None, snapshot: Snapshot) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(before, snapshot)
            except Exception:
                logger.exception("a subscriber failed; the new state is in force")
        if self._keeper is not None:
            self._keeper.keep()

    def _take_last_state(self, file: StateFile) -> None:
        """Put the last state of this machine in force, where the database has not answered."""
        if (found := file.read_or_warn()) is None:
            return
        snapshot, kept = found
        age, offset = max(0.0, kept.age()), round(kept.offset(), 3) + 0.0
        with self._telling:
            with self._swapping:
                if self.snapshot is not None or self.status.confirmed_at is not None:  # the database was quicker
                    return
                self.snapshot = snapshot
                lost, revision, at = self.status.error, snapshot.mark.alembic_revision, time.monotonic() - age
                self.status = Status(lost, revision, False, at, offset, "last_state")
                self.clock.measure(offset, host())
            logger.warning("the last state is in force, which was confirmed %.0f s ago", age)
            self._tell(None, snapshot)

    def _to_keep(self) -> tuple[Snapshot, About] | None:
        """Return the state that the file shall have: the database's, once that has said which server it is."""
        with self._swapping:
            snapshot, status, answering = self.snapshot, self.status, self._identity
        if self._file is None or snapshot is None or answering is None or not status.complete:
            return None
        [identity], ago = answering, time.monotonic() - (status.confirmed_at or 0.0)
        now, said = self.now(), (self._file.database, snapshot.mark, identity)
        return snapshot, About(*said, now - ago, status.clock_offset or 0.0, boot(), begun=now - steady())
