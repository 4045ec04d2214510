"""The watcher: the thread of a worker that keeps its live state fresh."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import closing
from typing import Protocol

from sqlalchemy import Engine

from ..deadline import interrupt, patient
from .clock import Clock
from .listener import DEAF, open_source
from .snapshot import Mark
from .sources import OPENING_SECONDS, POLL_SECONDS, ChangeSource, Reopen, Wake

CONFIRM_SECONDS = 2.0  # the database is asked this often even while LISTEN looks well
RETRY_SECONDS = 0.5  # after a reading that failed while the source stands
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0  # seconds between tries to reach a lost database
LAST_WAIT = 2.0  # seconds for a thread to end; SQLite's waits for locks cannot be interrupted

logger = logging.getLogger(__name__)


class Followed(Protocol):
    """What a watcher keeps fresh: `state.Live`, which says what each is for."""

    engine: Engine
    watching: Engine
    fallback: Engine | None
    clock: Clock

    @property
    def mark(self) -> Mark | None: ...
    def follow(self, source: ChangeSource) -> None: ...
    def refresh(self, source: ChangeSource, seconds: float | None = None) -> bool: ...
    def confirm(self, lag: float | None) -> None: ...
    def lose(self, error: Exception) -> None: ...


class Watcher(threading.Thread):
    """Opens a source of changes, reads, waits for a change, reads again; opens the source anew when it is lost."""

    def __init__(self, live: Followed) -> None:
        super().__init__(name="dop_be watcher", daemon=True)
        self._live = live
        self._wake = Wake()
        self._delay = FIRST_DELAY
        self._told: str | None = None

    def run(self) -> None:
        """Watch until `stop`."""
        interrupt.set(self._wake.fileno())
        patient.set(True)
        while not self._wake.is_set:
            try:
                live = self._live
                with closing(open_source(live.engine, live.watching, live.fallback, self._wake)) as source:
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
        self._warn(source.deaf)
        self._live.follow(source)
        fresh = not self._wake.is_set and self._live.refresh(source, OPENING_SECONDS)
        while not self._wake.is_set:
            changed = source.wait(CONFIRM_SECONDS if fresh else RETRY_SECONDS, self._live.mark)
            if changed or not fresh or self._live.clock.is_due:
                fresh = self._live.refresh(source)
            else:
                self._live.confirm(source.lag)
            if fresh:
                self._delay = FIRST_DELAY

    def _warn(self, deaf: str | None) -> None:
        """Log once why changes are polled for."""
        if deaf is not None and deaf != self._told:
            advice = "; set LISTEN_DATABASE_URL to a direct connection" if deaf == DEAF else ""
            logger.warning("LISTEN does not work, polling every %s s instead: %s%s", POLL_SECONDS, deaf, advice)
        self._told = deaf
