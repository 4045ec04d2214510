"""The live state of one worker: one immutable snapshot, and what is known of the database behind it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flask import Flask, current_app
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .. import database
from ..database import Attribution
from ..errors import StateUnknown, one_line
from ..extensions import db
from .loader import Mark, Reading, read, read_within
from .snapshot import Snapshot
from .sources import ERRORS, Feed, Feeds, Wake
from .watcher import Watcher

FIRST_READING_SECONDS = 2.0  # how long a starting worker waits for its first snapshot before it serves without one
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
        self.snapshot: Snapshot | None = None
        self.status = Status()
        self.on_alembic_revision: Callable[[Status], None] | None = None  # told at start, and after a migration
        self._engine, self._feeds = engine, Feeds(engine, listen_url)
        self._watcher: Watcher | None = None
        self._starting = threading.Lock()
        self._stopping = False
        self._looked = threading.Event()
        self._swapping = threading.Lock()
        self._begun = 0  # how many readings have begun
        self._begun_at_swap = 0

    def require(self) -> Snapshot:
        """The snapshot, which a request reads once; the first request starts the watcher where no server hook did.

        Raises:
            StateUnknown: this process has never seen the database's state.
        """
        if self.snapshot is None:
            self.start()
        if self.snapshot is None:
            raise StateUnknown("The state of the database was never seen; the log says why.")
        return self.snapshot

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
        self._engine.dispose()

    @property
    def version(self) -> int | None:
        return self.snapshot.version if self.snapshot else None

    @property
    def mark(self) -> Mark | None:
        """What the snapshot was loaded for; None where what was found last is no complete state."""
        status = self.status
        if self.snapshot is None or not status.complete or status.alembic_revision is None:
            return None
        return self.snapshot.version, status.alembic_revision

    def open_feed(self, wake: Wake) -> AbstractContextManager[Feed]:
        return self._feeds.open(wake)

    def refresh(self) -> bool:
        """Look at the database and take what it says; whether that was a complete state. `status` keeps failures."""
        began = self.begin()
        try:
            reading = read(self._engine)
        except SQLAlchemyError as error:
            self.lose(error)
            return False
        self.take(reading, began)
        return reading.snapshot is not None

    def confirm(self) -> None:
        """Note that the database was just asked, and that the snapshot is what it says."""
        self.status = replace(self.status, error=None, confirmed_at=time.monotonic())
        self._extend()

    def lose(self, error: Exception) -> None:
        """Note that the database does not answer; the snapshot stays. The log is told once, with a fault of our own."""
        reason = one_line(error)
        if self.status.error is None and not self._stopping:
            fault = None if isinstance(error, ERRORS) else error
            logger.warning("lost the database, the last known state stays in force: %s", reason, exc_info=fault)
        self.status = replace(self.status, error=reason)
        self._looked.set()
        self._extend()

    def _extend(self, now: datetime | None = None) -> None:
        """Expand the planned windows anew when the UTC day is over; the database need not answer for that."""
        now = now or datetime.now(UTC)
        snapshot = self.snapshot
        if snapshot is None or snapshot.timeline.made_at.date() == now.date():
            return
        extended = snapshot.extended(now)
        with self._swapping:
            if self.snapshot is snapshot:
                self.snapshot = extended

    def begin(self) -> int:
        """Number a reading that begins now, for `take`."""
        with self._swapping:
            self._begun += 1
            return self._begun

    def take(self, reading: Reading, began: int) -> None:
        """Note what a reading found, and put its snapshot in force unless a newer one is."""
        if self.status.error is not None:
            logger.info("the database answers again")
        if reading.snapshot is not None:
            self._swap(reading.snapshot, began)
        known = self.status
        self.status = Status(None, reading.alembic_revision, reading.snapshot is not None, time.monotonic())
        self._looked.set()
        moved = known.confirmed_at is None or known.alembic_revision != reading.alembic_revision
        if moved and self.on_alembic_revision is not None:
            self.on_alembic_revision(self.status)

    def _swap(self, snapshot: Snapshot, began: int) -> None:
        """A reading that began after the last swap always wins, an older one only with a higher version."""
        with self._swapping:
            current = self.snapshot
            if current is not None and snapshot.version <= current.version and began <= self._begun_at_swap:
                return
            if current is not None and snapshot.version < current.version:
                logger.warning("the database went back from version %d to %d", current.version, snapshot.version)
            self.snapshot = snapshot
            self._begun_at_swap = self._begun


@contextmanager
def writing(by: Attribution) -> Iterator[Session]:
    """`database.writing`, after which this process serves the new state at once.

    The state is read before the commit, within its time limit, so that nothing can fail between the two. It is what
    will be committed: a change has locked the row of `live_state`, which every other change needs too. Where no state
    is in force yet, as in a command, nothing is read.
    """
    state = live()
    with database.writing(by) as session:
        yield session
        session.flush()
        began, reading = state.begin(), None
        try:
            reading = read_within(session.connection()) if state.snapshot else None
        except (
            ValueError,
            OverflowError,
        ):  # SQL left what Python cannot hold; this write is good
            logger.exception("the state cannot be read, the last known one stays in force")
    if reading is not None:
        state.take(reading, began)


def init_app(app: Flask) -> None:
    with app.app_context():
        app.extensions["live"] = Live(db.engine, app.config["LISTEN_DATABASE_URI"])


def live() -> Live:
    """The live state of the current application."""
    state: Live = current_app.extensions["live"]
    return state
