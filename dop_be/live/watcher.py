"""The watcher, the thread of a worker that keeps its snapshot fresh, and the live state that it keeps."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ..deadline import interrupt
from ..errors import one_line
from .loader import Reading, read
from .snapshot import Mark, Snapshot
from .sources import ERRORS, POLL_SECONDS, ChangeSource, Poll, Reopen, Wake, open_source

FIRST_READING_SECONDS = 2.0  # how long a starting worker waits for its first snapshot before it serves without one
CONFIRM_SECONDS = 2.0  # the database is asked this often even while LISTEN looks well
RETRY_SECONDS = 0.5  # after a reading that failed while the source stands
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0  # seconds between tries to reach a lost database
LAST_WAIT = 2.0  # seconds for the thread to end; SQLite's waits for locks cannot be interrupted

# Told after a swap: the snapshot before, None at first, and the one that is in force now.
Subscriber = Callable[[Snapshot | None, Snapshot], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What the last look at the database found; `error` is None while it answers, `confirmed_at` is monotonic."""

    error: str | None = None
    alembic_revision: str | None = None
    complete: bool = False  # the settings row is there and readable
    confirmed_at: float | None = None


class Live:
    """Holds the snapshot that requests read, and keeps it fresh through a watcher once started."""

    def __init__(self, engine: Engine, listen_url: URL) -> None:
        self.engine, self.listen_url = engine, listen_url
        self.snapshot: Snapshot | None = None
        self.status = Status()
        self._subscribers: list[Subscriber] = []
        self._watcher: Watcher | None = None
        self._starting = threading.Lock()
        self._stopping = False
        self._looked = threading.Event()
        self._swapping = threading.Lock()
        self._begun = 0  # how many readings have begun
        self._begun_at_swap = 0

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call this after each swap, in the thread that swapped: be quick. What it raises is only logged."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Start the watcher of this process, once, and wait a little for the first reading."""
        with self._starting:
            if self._watcher is None or not self._watcher.is_alive():
                self._stopping = False
                self._watcher = Watcher(self)
                self._watcher.start()
                self._looked.wait(FIRST_READING_SECONDS)

    def stop(self) -> None:
        """End the watcher and close every connection."""
        with self._starting:
            self._stopping = True  # what the watcher is asking is cut off, and that is no news
            if self._watcher is not None:
                self._watcher.stop()
            self._watcher = None
        self.engine.dispose()

    @property
    def version(self) -> int | None:
        """The version of the snapshot."""
        return self.snapshot.version if self.snapshot else None

    @property
    def mark(self) -> Mark | None:
        """What the snapshot was loaded for; None where the last look found no complete state."""
        return self.snapshot.mark if self.snapshot is not None and self.status.complete else None

    def refresh(self) -> bool:
        """Look at the database and take what it says; whether that was a complete state. `status` keeps failures."""
        began = self.begin()
        try:
            reading = read(self.engine)
        except SQLAlchemyError as error:
            self.lose(error)
            return False
        self.take(reading, began)
        if reading.snapshot is None:
            return False
        reading.snapshot.at(time.time())  # evaluate the windows here, and not in the next request
        return True

    def confirm(self) -> None:
        """Note that the database was just asked, and that the snapshot is what it says."""
        self.status = replace(self.status, error=None, confirmed_at=time.monotonic())

    def lose(self, error: Exception) -> None:
        """Note that the database does not answer; the snapshot stays. Log it once, and a fault of our own in full."""
        reason = one_line(error)
        if self.status.error is None and not self._stopping:
            fault = None if isinstance(error, ERRORS) else error
            logger.warning("lost the database, the last known state stays in force: %s", reason, exc_info=fault)
        self.status = replace(self.status, error=reason)
        self._looked.set()

    def begin(self) -> int:
        """Give a number to a reading that begins now, for `take`."""
        with self._swapping:
            self._begun += 1
            return self._begun

    def take(self, reading: Reading, began: int) -> None:
        """Note what a reading found, and put its snapshot in force unless a newer one is."""
        if self.status.error is not None:
            logger.info("the database answers again")
        if reading.snapshot is not None:
            self._swap(reading.snapshot, began)
        elif self.status.complete or self.status.confirmed_at is None:
            logger.warning("the database has no settings row that this release can read")
        complete = reading.snapshot is not None
        self.status = Status(None, reading.alembic_revision, complete, time.monotonic())
        self._looked.set()

    def _swap(self, snapshot: Snapshot, began: int) -> None:
        """Put a snapshot in force, unless its reading began before the last swap and its version is no higher."""
        with self._swapping:
            before = self.snapshot
            if before is not None and snapshot.mark.version <= before.mark.version and began <= self._begun_at_swap:
                return
            if before is not None and snapshot.mark.version < before.mark.version:
                logger.warning(
                    "the database went back from version %d to %d", before.mark.version, snapshot.mark.version
                )
            self.snapshot = snapshot
            self._begun_at_swap = self._begun
        for subscriber in self._subscribers:
            try:
                subscriber(before, snapshot)
            except Exception:
                logger.exception("a subscriber failed; the new state is in force")


class Watcher(threading.Thread):
    """Opens a source of changes, reads, waits for a change, reads again; opens the source anew when it is lost."""

    def __init__(self, live: Live) -> None:
        super().__init__(name="dop_be watcher", daemon=True)
        self._live = live
        self._wake = Wake()
        self._delay = FIRST_DELAY
        self._polling = False

    def run(self) -> None:
        """Watch until `stop`."""
        interrupt.set(self._wake.fileno())
        while not self._wake.is_set:
            try:
                with closing(open_source(self._live.engine, self._live.listen_url, self._wake)) as source:
                    self._follow(source)
            except Reopen:
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, a worker without a watcher would be worse
                self._lose(error)
            # Jitter, so that the workers of a platform do not come back to a restarted database in one wave.
            self._wake.wait(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, hides nothing
            self._delay = min(self._delay * 2, LONGEST_DELAY)

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        self._wake.set()
        self.join(LAST_WAIT)
        if not self.is_alive():
            self._wake.close()

    def _lose(self, error: Exception) -> None:
        try:
            if not self._wake.is_set:
                self._live.lose(error)
        except Exception:
            logger.exception("the watcher failed, and goes on")

    def _follow(self, source: ChangeSource) -> None:
        self._warn(source)
        fresh = not self._wake.is_set and self._live.refresh()
        while not self._wake.is_set:
            changed = source.wait(CONFIRM_SECONDS if fresh else RETRY_SECONDS, self._live.mark)
            if changed or not fresh:
                fresh = self._live.refresh()
            else:
                self._live.confirm()
            if fresh:
                self._delay = FIRST_DELAY

    def _warn(self, source: ChangeSource) -> None:
        """Log it once that LISTEN does not work."""
        if isinstance(source, Poll) and not self._polling:
            logger.warning(
                "LISTEN does not work, polling every %s s instead; set LISTEN_DATABASE_URL to a direct connection: %s",
                POLL_SECONDS,
                source.reason,
            )
        self._polling = isinstance(source, Poll)
