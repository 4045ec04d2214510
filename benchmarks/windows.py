"""The figures of planned windows: how punctual they are without the database, and what a hundred of them cost."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flask import Flask

from dop_be import create_app
from dop_be.database import Author
from dop_be.live.snapshot import build
from dop_be.maintenance import recurrence, schedule, schemas, service
from dop_be.maintenance.schedule import Window
from dop_be.maintenance.timeline import Timeline
from dop_be.web.outer import Outer
from tests.conftest import configuration, migrate
from tests.e2e.servers import gunicorn
from tests.e2e.windows import lateness, plan, proven_wrong, watch_without_database
from tests.postgres import Cluster, execute
from tests.shared import snapshot_of

from .report import Table, microseconds, milliseconds
from .servers import new_database, postgresql

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WORKERS = 4
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")
RULES = ("FREQ=DAILY", "FREQ=WEEKLY;BYDAY={day}", "FREQ=MONTHLY;BYDAY=2{day}", "FREQ=DAILY;INTERVAL=2")


def punctuality(count: int = 20) -> tuple[list[float], int]:
    """Seconds from each opening and closing of `count` windows to each worker's first answer that shows it.

    PostgreSQL is stopped all the time. The answer's own way is included, and up to 2 ms between two questions. Beside
    them, how many answers were certainly given before their time or more than 100 ms after it.
    """
    cluster = Cluster()
    try:
        cluster.start()
        execute(cluster.url(), "CREATE DATABASE windows")
        migrate(cluster.url("windows"))
        with gunicorn(cluster.url("windows"), workers=WORKERS) as server:
            changes = plan(server, count, lead=5, each=0.5)
            watched = watch_without_database(server, changes, cluster.stop)
            pairs = [(change, answers) for change in changes for answers in watched.values()]
            return [lateness(*pair) for pair in pairs], sum(len(proven_wrong(*pair, 0.1)) for pair in pairs)
    finally:
        cluster.remove()


def hundred() -> list[Window]:
    """Recurring windows in five zones, a quarter of them daily, all begun five years ago, none open for an hour now."""
    now = datetime.now(UTC).replace(microsecond=0)
    windows = []
    for number in range(100):
        later = now + timedelta(hours=3 + number % 6)  # zones' offsets differ by an hour over the year
        begin = (now - timedelta(days=5 * 365 + number)).replace(hour=later.hour, minute=number % 60)
        local = begin.astimezone(schedule.zone(ZONES[number % 5]))
        rule = RULES[number % 4].format(day=("MO", "TU", "WE", "TH", "FR", "SA", "SU")[local.weekday()])
        while rule.startswith("FREQ=MONTHLY") and not 8 <= local.day <= 14:
            begin -= timedelta(days=7)
            local -= timedelta(days=7)
        end = begin + timedelta(minutes=45)
        windows.append(Window(uuid.uuid4(), begin, end, timezone=ZONES[number % 5], rrule=rule))
    assert all(schedule.is_sound(window) for window in windows)
    return windows


def daily(count: int) -> list[Window]:
    """Windows that recur daily since over a year ago, each a second after the one before, open an hour a day."""
    begin = datetime.now(UTC) + timedelta(hours=4) - timedelta(days=400)
    starts = (begin + timedelta(seconds=number) for number in range(count))
    hour = timedelta(hours=1)
    return [Window(uuid.uuid4(), at, at + hour, timezone="Europe/Berlin", rrule="FREQ=DAILY") for at in starts]


# What is planned by SQL before `off`: at most so many of the worst windows that the API takes, and far more.
OPEN_DAILY = (
    "INSERT INTO maintenance_windows (starts_at, ends_at, timezone, rrule) SELECT start, start + interval '23:50',"
    " 'Europe/Berlin', 'FREQ=DAILY;UNTIL=20300301T000000Z' FROM generate_series(1, {count}) AS number,"
    " LATERAL (SELECT now() - interval '999 days' - number * interval '1 second' AS start) AS made"
)
CLOSED_DAILY = (
    "INSERT INTO maintenance_windows (starts_at, ends_at, timezone, rrule) SELECT start, start + interval '1 hour',"
    " 'Europe/Berlin', 'FREQ=DAILY' FROM generate_series(1, {count}) AS number,"
    " LATERAL (SELECT now() - interval '999 days' + interval '3 hours' + number * interval '1 second' AS start) AS made"
)
OPEN_ONCE = (
    "INSERT INTO maintenance_windows (starts_at, ends_at)"
    " SELECT now() - number * interval '1 second', now() + interval '1 hour' FROM generate_series(1, {count}) AS number"
)
PLANNED = {
    "none": [],
    "100 daily ones since 999 days ago, all open": [OPEN_DAILY.format(count=100)],
    "10,000 daily ones, none open, and one that is": [CLOSED_DAILY.format(count=10_000), OPEN_ONCE.format(count=1)],
    "10,000, all open": [OPEN_ONCE.format(count=10_000)],
    "10,000 daily ones, all open": [OPEN_DAILY.format(count=10_000)],
}


def off(rounds: int) -> Table:
    """Measure what windows add to `off`: in a process that knows nothing of them, as a command, and in a worker."""
    rows = []
    with postgresql() as cluster:
        url = new_database(cluster, "switching")
        app = create_app(configuration(url))
        live = app.extensions["live"]
        with app.app_context():
            for planned, statements in PLANNED.items():
                taken: dict[bool, list[float]] = {True: [], False: []}
                for knowing in sorted(taken) * min(rounds, 3 if "10,000" in planned else rounds):
                    forget()
                    filling = [
                        "DELETE FROM maintenance_windows",
                        *statements,
                        "UPDATE system_settings SET is_maintain = true",
                    ]
                    execute(url, *filling)
                    live.snapshot = None
                    if knowing:
                        live.refresh()
                    began = time.perf_counter()
                    outcome = service.switch(Author("benchmark", "cli"), active=False)
                    taken[knowing].append(time.perf_counter() - began)
                    assert not outcome.phase.maintenance.active
                rows.append([planned, *(milliseconds(statistics.median(taken[knowing])) for knowing in (False, True))])
        live.stop()
    note = "With 100 it may take 50 ms more than with none."
    return Table("`off` with windows", ["windows", "by a command", "by a worker"], rows, note)


def forget() -> None:
    """Forget what is remembered of windows."""
    for remembered in (recurrence.recurrence, schedule.expand, schedule.is_sound, schemas.dumped):
        remembered.cache_clear()


def load_cost(app: Flask, windows: Sequence[Window], *, cold: bool, rounds: int = 11) -> float:
    """Seconds to build a snapshot with the windows, the median; `cold` with nothing remembered of them."""
    snapshot = snapshot_of(app.extensions["live"])
    samples = []
    for _ in range(rounds):
        if cold:
            forget()
        began = time.perf_counter()
        build(snapshot.mark, snapshot.settings, tokens=[], windows=windows, components=[]).at(time.time())
        samples.append(time.perf_counter() - began)
    return statistics.median(samples)


def request_cost(app: Flask, windows: Sequence[Window], calls: int = 10_000) -> float:
    """Seconds that looking, checking and announcing take of one allowed request: the least of 200 samples."""
    live, gate = app.extensions["live"], app.extensions["gate"]
    snapshot = snapshot_of(live)
    live.snapshot = replace(snapshot, timeline=Timeline(snapshot.settings, windows))

    def inner(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return []

    def started(*answer: object) -> Callable[[bytes], object]:
        return bytes

    outer = Outer(live, inner, inner)
    with app.test_request_context("/") as context:
        environ = context.request.environ

        def look() -> None:
            outer(environ, started)

        look()
        return min(_timed(gate.check, calls) + _timed(look, calls) for _ in range(200))


def _timed(function: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - began) / calls


def measure(rounds: int) -> Iterator[Table]:
    """Return what a hundred windows cost, and how punctual windows are; two of them where there is one round."""
    with TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'windows.sqlite3'}"
        migrate(url)
        app = create_app(configuration(url))
        app.extensions["live"].refresh()
        rows = [_cost(app, windows, rounds) for windows in ([], hundred(), daily(10_000))]
        app.extensions["live"].stop()
    head = ["windows", "snapshot, nothing remembered", "snapshot, again", "gate, per request"]
    yield Table("Planned windows", head, rows, "A quarter of the hundred is daily; all of the 10,000 are.")
    yield off(rounds)
    late, wrong = punctuality(2 if rounds == 1 else 20)
    head = ["changes seen", "certainly wrong by 100 ms", "first right answer, median", "latest"]
    row = [str(len(late)), str(wrong), milliseconds(statistics.median(late)), milliseconds(max(late))]
    note = f"Openings and closings at each of {WORKERS} workers, PostgreSQL stopped; the answer's own way is included."
    yield Table("Windows open and close without the database", head, [row], note)


def _cost(app: Flask, windows: Sequence[Window], rounds: int) -> list[str]:
    cold, warm = (load_cost(app, windows, cold=cold, rounds=rounds) for cold in (True, False))
    return [f"{len(windows):,}", milliseconds(cold), milliseconds(warm), microseconds(request_cost(app, windows))]
