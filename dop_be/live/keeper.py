"""The thread of a worker that keeps the file of the last state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .last_state import KEEP_SECONDS, About, Unusable
from .snapshot import Snapshot
from .state_file import StateFile

logger = logging.getLogger(__name__)


class Keeper(threading.Thread):
    """Writes the file after each swap, and confirms it while the database answers.

    `state` returns what there is to write, None while there is nothing from the database.
    """

    def __init__(self, file: StateFile, state: Callable[[], tuple[Snapshot, About] | None]) -> None:
        super().__init__(name="dop_be last state", daemon=True)
        self._file, self._state = file, state
        self._due = threading.Event()
        self._stopping = self._kept = False
        self.fault: str | None = None  # why the file is not written, in the rest of a sentence

    def keep(self) -> None:
        """Write what there is now, soon."""
        self._due.set()

    def run(self) -> None:
        """Write until `stop`."""
        self._file.tidy()
        ending = False
        while not ending:
            self._due.wait(KEEP_SECONDS)
            self._due.clear()
            ending = self._stopping  # before it writes, so that what came before the end is written
            self._write()

    def stop(self, seconds: float) -> None:
        """Write a last time, and wait so long for the thread's end."""
        self._stopping = True
        self._due.set()
        self.join(seconds)

    def _write(self) -> None:
        try:
            if (found := self._state()) is None:
                return
            self._file.write(*found)
            if self.fault is not None or not self._kept:
                logger.info("the last state is kept in %s", self._file.path)
            self.fault, self._kept = None, True
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on without it
            reason = str(error) if isinstance(error, Unusable) else f"cannot be written: {error}"
            if self.fault is None:
                logger.warning("the last state %s %s", self._file.path, reason)
            self.fault = reason
