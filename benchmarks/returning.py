"""How clients that a planned end sends away come back: at most so many in one second."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

from dop_be.maintenance.policy import retry_after

from .report import Table

CLIENTS = 10_000
LENGTHS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=2))
SPREAD = 30


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    for length in LENGTHS:
        busiest, early = zip(*(returning(length) for _ in range(rounds)), strict=True)
        minutes = int(length.total_seconds()) // 60
        rows.append([f"window of {minutes} min", f"{median(busiest):.2f} ×", "2 ×", str(sum(early))])
    note = (
        f"{CLIENTS:,} clients, refused at random moments of a window, each back after its Retry-After;"
        f" RETRY_SPREAD={SPREAD}. The busiest second against the mean over the spread, a tenth of the window at most."
    )
    yield Table(
        "Clients that come back after a planned end", ["", "busiest second", "at most", "too early"], rows, note
    )


def returning(length: timedelta) -> tuple[float, int]:
    """Let the clients of one window return; the busiest second against the mean, and how many come too early."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    until = since + length
    late = []
    for _ in range(CLIENTS):
        now = random.uniform(since.timestamp(), until.timestamp())
        late.append(now + retry_after(since, until, now, default=120, spread=SPREAD) - until.timestamp())
    by_second = Counter(math.floor(seconds) for seconds in late)
    spread = min(SPREAD, int(length.total_seconds()) // 10)
    return max(by_second.values()) / (CLIENTS / spread), sum(seconds < 0 for seconds in late)
