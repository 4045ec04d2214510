"""Windows open and close by themselves on every worker, with the database stopped."""

from __future__ import annotations

from ..postgres import Cluster
from .servers import gunicorn
from .windows import Change, plan, proven_wrong, watch_without_database

WORKERS = 4
COUNT = 3  # the benchmark does 20
TOLERANCE = 0.1  # seconds


def test_windows_open_and_close_on_time_on_every_worker_with_the_database_stopped(
    breakable_url: str, cluster: Cluster
) -> None:
    with gunicorn(breakable_url, workers=WORKERS) as server:
        changes = plan(server, COUNT, lead=10, each=0.5)
        watched = watch_without_database(server, changes, cluster.stop)
        assert len(watched) == WORKERS
        for worker, answers in watched.items():
            seen = [change for change in changes if near(change, [one.sent for one in answers])]
            assert seen, f"worker {worker} was not asked in time"
            assert [wrong for change in seen for wrong in proven_wrong(change, answers, TOLERANCE)] == []


def near(change: Change, sent: list[float]) -> bool:
    """Whether the worker was asked on both sides of a change; a machine may be too slow for some."""
    return any(moment < change.moment for moment in sent) and any(moment >= change.moment for moment in sent)
