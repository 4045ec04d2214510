"""The time that counts: this host's clock, or the database's where the two differ by more than a second."""

from __future__ import annotations

import logging
import time
from functools import cache
from pathlib import Path

TOLERATED, AGREED = 1.0, 0.5  # seconds of difference: beyond the one a clock is corrected, until it is below the other
STEP = 0.5  # seconds by which a clock is set, and does not drift
MEASURE_SECONDS = 600.0  # this often the clocks are compared, though nothing changes
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)
STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the host sleeps, where there is one

logger = logging.getLogger(__name__)


@cache
def boot() -> str | None:
    """Return which life of the system this is, in all of which the steady clock is one; None where it does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None


def steady() -> float:
    """Return the seconds on a clock that nobody sets."""
    return time.clock_gettime(STEADY)


def host() -> float:
    """Return the Unix time at which the steady clock was at 0, by this host's clock: another one once that is set."""
    return time.time() - steady()


def differing(offset: float) -> str | None:
    """Say that the database's clock is so many seconds ahead, without a full stop; None where that is tolerated."""
    if abs(offset) <= TOLERATED:
        return None
    side = "behind" if offset > 0 else "ahead of"
    return f"this host's clock is {abs(offset):.1f} s {side} the database's, whose time counts"


def unix_time(offset: float) -> float:
    """Return the Unix time that counts on a host where the database's clock is so many seconds ahead."""
    return time.time() + (offset if differing(offset) else 0.0)


class Clock:
    """Tells the Unix time: once it was measured evenly, though this host's clock is set, until it is measured again."""

    def __init__(self) -> None:
        self._begun: float | None = None  # the Unix time at which the steady clock was at 0
        self._ours = 0.0  # the same by this host's clock
        self._measured_at = 0.0  # on the steady clock
        self._corrects = False

    def now(self) -> float:
        """Return the Unix time."""
        begun = self._begun
        return time.time() if begun is None else time.clock_gettime(STEADY) + begun

    def measure(self, offset: float, ours: float) -> None:
        """Note a difference of the clocks; log it once where it begins or ceases to count.

        Args:
            offset: how many seconds the database's clock is ahead.
            ours: what `host` was when that was found out: this host's clock may have been set since.
        """
        self._measured_at, self._ours = steady(), ours
        corrects = abs(offset) > (AGREED if self._corrects else TOLERATED)
        self._begun = self._ours + (offset if corrects else 0.0)
        if corrects is not self._corrects:
            logger.warning(
                "%s", differing(offset) if corrects else "this host's clock agrees with the database's again"
            )
        self._corrects = corrects

    @property
    def is_due(self) -> bool:
        """Whether the clocks have to be compared anew: this host's was set, or may have drifted."""
        elapsed = steady()
        was_set = abs(host() - self._ours) > STEP
        return was_set or elapsed - self._measured_at > MEASURE_SECONDS
