"""What is read off processes and made of samples."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` per cent of all are not above (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def cpu_seconds(process: int) -> float:
    """CPU time that all threads of a process have used, user and system.

    From its CPU clock, to the nanosecond, where /proc/<pid>/stat counts ticks of 10 ms; the number of that clock is
    made as clock_getcpuclockid(3) makes it.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime(~process << 3 | 2)


def children(process: int) -> list[int]:
    """Return the processes that a process has started, as gunicorn's master its workers."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def memory(process: int) -> tuple[float, float]:
    """RSS and PSS in MB (10^6 bytes); PSS counts a page that n processes share as 1/n."""
    lines = (line.split() for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {name.rstrip(":"): int(value) for name, value, *_ in lines}
    return kilobytes["Rss"] * 1024 / 1e6, kilobytes["Pss"] * 1024 / 1e6
