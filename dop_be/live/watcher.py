"""The watcher: the thread of a worker that keeps its snapshot fresh."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import AbstractContextManager
from typing import Protocol

from ..errors import one_line
from .feeds import ERRORS, Feed, Wake

POLL_SECONDS = 2.0  # the version is asked for this often even while LISTEN looks well
RETRY_SECONDS = 0.5  # after a reading that failed while the feed stands
FIRST_DELAY, LONGEST_DELAY = 0.1, 3.0  # seconds between tries to reach a lost database

logger = logging.getLogger(__name__)


class Target(Protocol):
    """What a watcher keeps fresh."""

    @property
    def version(self) -> int | None: ...
    def open_feed(self, wake: Wake) -> AbstractContextManager[Feed]: ...
    def refresh(self) -> bool: ...
    def confirm(self) -> None: ...
    def lose(self, reason: str) -> None: ...


class Watcher(threading.Thread):
    """Opens the feed, reads, waits for the feed, reads again; opens the feed anew when it is lost."""

    def __init__(self, target: Target) -> None:
        super().__init__(name="dop_be watcher", daemon=True)
        self._target = target
        self._wake = Wake()
        self._delay = FIRST_DELAY

    def run(self) -> None:
        while not self._wake.is_set:
            try:
                with self._target.open_feed(self._wake) as feed:
                    self._follow(feed)
            except ERRORS as error:
                self._target.lose(one_line(error))
            except Exception:
                logger.exception("the watcher failed, and goes on")
            # Jitter, so that the workers of a platform do not come back to a restarted database in one wave.
            self._wake.wait(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, hides nothing
            self._delay = min(self._delay * 2, LONGEST_DELAY)
        self._wake.close()

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        self._wake.set()
        self.join()

    def _follow(self, feed: Feed) -> None:
        fresh = self._target.refresh()
        while not self._wake.is_set:
            if fresh:
                self._delay = FIRST_DELAY
            changed = feed.wait(POLL_SECONDS if fresh else RETRY_SECONDS, self._target.version)
            if changed or not fresh:
                fresh = self._target.refresh()
            else:
                self._target.confirm()
