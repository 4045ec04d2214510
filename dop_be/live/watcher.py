"""The watcher: the thread of a worker that keeps its snapshot fresh."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import AbstractContextManager
from typing import Protocol

from ..database import interrupt
from .loader import Mark
from .sources import Feed, Reopen, Wake

POLL_SECONDS = 2.0  # the database is asked this often even while LISTEN looks well
RETRY_SECONDS = 0.5  # after a reading that failed while the feed stands
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0  # seconds between tries to reach a lost database
LAST_WAIT = 2.0  # seconds for the thread to end; SQLite's waits for locks cannot be interrupted

logger = logging.getLogger(__name__)


class Target(Protocol):
    """What a watcher keeps fresh."""

    @property
    def mark(self) -> Mark | None: ...
    def open_feed(self, wake: Wake) -> AbstractContextManager[Feed]: ...
    def refresh(self) -> bool: ...
    def confirm(self) -> None: ...
    def lose(self, error: Exception) -> None: ...


class Watcher(threading.Thread):
    """Opens the feed, reads, waits for the feed, reads again; opens the feed anew when it is lost."""

    def __init__(self, target: Target) -> None:
        super().__init__(name="dop_be watcher", daemon=True)
        self._target = target
        self._wake = Wake()
        self._delay = FIRST_DELAY

    def run(self) -> None:
        interrupt.set(self._wake.fileno())
        while not self._wake.is_set:
            try:
                with self._target.open_feed(self._wake) as feed:
                    self._follow(feed)
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
                self._target.lose(error)
        except Exception:
            logger.exception("the watcher failed, and goes on")

    def _follow(self, feed: Feed) -> None:
        fresh = not self._wake.is_set and self._target.refresh()
        while not self._wake.is_set:
            changed = feed.wait(POLL_SECONDS if fresh else RETRY_SECONDS, self._target.mark)
            if changed or not fresh:
                fresh = self._target.refresh()
            else:
                self._target.confirm()
            if fresh:
                self._delay = FIRST_DELAY
