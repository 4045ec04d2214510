"""The live state of one worker: one immutable snapshot, and what is known of the database behind it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

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
        self.on_alembic_revision: Callable[[Status], None] | None = None  # told at start, and after a migration
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
        known = self.status
        self.status = Status(None, reading.alembic_revision, reading.snapshot is not None, time.monotonic())
        self._looked.set()
        moved = known.confirmed_at is None or known.alembic_revision != reading.alembic_revision
        if moved and self.on_alembic_revision is not None:
            self.on_alembic_revision(self.status)
        return reading.snapshot is not None

    def confirm(self) -> None:
        """Note that the database was just asked, and that the snapshot is what it says."""
        status = self.status
        self.status = Status(None, status.alembic_revision, status.complete, time.monotonic())

    def lose(self, reason: str) -> None:
        """Note that the database does not answer; the snapshot stays."""
        status = self.status
        if status.error != reason:
            logger.warning("the database does not answer, the last known state stays in force: %s", reason)
        self.status = Status(reason, status.alembic_revision, status.complete, status.confirmed_at)
        self._looked.set()

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
