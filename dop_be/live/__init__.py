"""The live state of one worker: one immutable snapshot, and what is known of the database behind it."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask, current_app
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ..database import limit_waiting
from ..errors import StateUnknown, one_line
from ..extensions import db
from .feeds import Feed, Wake, open_feed
from .loader import read
from .snapshot import Snapshot
from .watcher import Watcher

FIRST_READING_SECONDS = 2.0  # how long a starting worker waits for its first snapshot before it serves without one
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What the last look at the database found; `error` is None while it answers, `confirmed_at` is monotonic."""

    error: str | None = "the database was not read yet"
    alembic_revision: str | None = None
    complete: bool = False  # the settings row is there and readable
    confirmed_at: float | None = None


class Live:
    """Holds the snapshot that requests read, and keeps it fresh through a watcher once started."""

    def __init__(self, engine: Engine, listen_url: URL) -> None:
        self.snapshot: Snapshot | None = None
        self.status = Status()
        self._engine, self._listen_url = engine, listen_url
        self._watcher: Watcher | None = None
        self._starting = threading.Lock()
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
            raise StateUnknown(
                f"The state of the database was never seen: {self.status.error or 'it has no settings'}."
            )
        return self.snapshot

    def start(self) -> None:
        """Start the watcher of this process, once, and wait a little for the first reading."""
        with self._starting:
            if self._watcher is None or not self._watcher.is_alive():
                limit_waiting()
                self._watcher = Watcher(self)
                self._watcher.start()
                self._looked.wait(FIRST_READING_SECONDS)

    def stop(self) -> None:
        """End the watcher and close every connection."""
        with self._starting:
            if self._watcher is not None and self._watcher.is_alive():
                self._watcher.stop()
            self._watcher = None
        self._engine.dispose()

    @property
    def version(self) -> int | None:
        return self.snapshot.version if self.snapshot else None

    def open_feed(self, wake: Wake) -> AbstractContextManager[Feed]:
        return open_feed(self._engine, self._listen_url, wake)

    def refresh(self) -> bool:
        """Look at the database and take what it says; whether that was a complete state. `status` keeps failures."""
        with self._swapping:
            self._begun += 1
            began = self._begun
        try:
            reading = read(self._engine)
        except SQLAlchemyError as error:
            self.lose(one_line(error))
            return False
        if self.status.error and self.status.confirmed_at:
            logger.info("the database answers again")
        if reading.snapshot is not None:
            self._take(reading.snapshot, began)
        self.status = Status(None, reading.alembic_revision, reading.snapshot is not None, time.monotonic())
        self._looked.set()
        return reading.snapshot is not None

    def confirm(self) -> None:
        """Note that the database was just asked, and that the snapshot is what it says."""
        status = self.status
        self.status = Status(None, status.alembic_revision, status.complete, time.monotonic())
        self._extend()

    def lose(self, reason: str) -> None:
        """Note that the database does not answer; the snapshot stays."""
        status = self.status
        if status.error != reason:
            logger.warning("the database does not answer, the last known state stays in force: %s", reason)
        self.status = Status(reason, status.alembic_revision, status.complete, status.confirmed_at)
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

    def _take(self, snapshot: Snapshot, began: int) -> None:
        """Swap: a reading that began after the last swap always wins, an older one only with a higher version."""
        with self._swapping:
            current = self.snapshot
            if current is not None and snapshot.version <= current.version and began <= self._begun_at_swap:
                return
            if current is not None and snapshot.version < current.version:
                logger.warning("the database went back from version %d to %d", current.version, snapshot.version)
            self.snapshot = snapshot
            self._begun_at_swap = self._begun


def init_app(app: Flask) -> None:
    with app.app_context():
        app.extensions["live"] = Live(db.engine, app.config["LISTEN_DATABASE_URI"])


def live() -> Live:
    """The live state of the current application."""
    state: Live = current_app.extensions["live"]
    return state
