"""Time as a test may hold others to it: a busy machine, which lets everything wait, turns no test red by it."""

from __future__ import annotations

import threading
import time
from typing import Any

TICK = 0.02  # seconds


class Clock:
    """Counts ticks of its own thread: it stands still, like what it measures, while the machine has no time for it."""

    def __init__(self) -> None:
        self._ticks, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            self._ticks += 1

    def stop(self) -> float:
        """Seconds since it was made, on a machine that has time."""
        self._ended.set()
        self._thread.join()
        return self._ticks * TICK


def eventually(seconds: float, condition: Any, pause: float = TICK) -> float:
    """Wait until `condition()` holds; how long that took. It is asked as often as there are pauses in `seconds`.

    A condition that takes long itself has twenty times as long.

    Raises:
        AssertionError: it does not hold within `seconds` of a machine that has time.
    """
    began = time.monotonic()
    for _ in range(int(seconds / pause)):
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > 20 * seconds:
            break
        time.sleep(pause)
    assert condition(), f"not within {seconds} s: {condition}"
    return time.monotonic() - began
