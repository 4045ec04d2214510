"""The primary is lost and its replica promoted: how soon the first write is taken, and every worker has it."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.e2e.failover import WAYS, Figures, Succession, Way, fail_over, observing, wait_until_followed
from tests.e2e.servers import gunicorn

from .report import Table

WORKERS = 2
MOST_ROUNDS = 5  # each takes some ten seconds
OUTAGES = {0.0: "promoted at once", 5.0: "promoted after 5 s"}


def measure(rounds: int) -> Iterator[Table]:
    """Lose one primary after another; each replica that was promoted is the next one."""
    succession, count = Succession(), min(rounds, MOST_ROUNDS)
    try:
        rows = [row(succession, way, outage, count) for way in WAYS for outage in OUTAGES]
    finally:
        succession.remove()
    head = ["", "first write, median", "worst", f"all {WORKERS} workers fresh, median", "worst", "at most"]
    note = (
        f"{count} rounds each, with synchronous replication. Seconds from the end of the promotion to the answer of the"
        " first write that was sent after it, writes being tried every 0.1 s all the while, and until the last worker"
        " serves that write. HAProxy and PgBouncer are configured as shipped; PgBouncer is reloaded at that moment."
    )
    yield Table("A promoted replica", head, rows, note)


def row(succession: Succession, way: Way, outage: float, count: int) -> list[str]:
    figures = [once(succession, way, outage) for _ in range(count)]
    cells = [f"{how(each):.1f} s" for each in zip(*figures, strict=True) for how in (median, max)]
    return [f"{way.name}, {OUTAGES[outage]}", *cells, "5 s"]


def once(succession: Succession, way: Way, outage: float) -> Figures:
    with (
        succession.pair(synchronous=True) as pair,
        way.route(pair) as route,
        gunicorn(route.url, workers=WORKERS) as server,
    ):
        wait_until_followed(server, pair.primary, listens=way.listens)
        with observing(server) as seen:
            return fail_over(way, pair, route, seen, outage)
