"""The snapshot's timeline: the phase in force is remembered, and goes on for as long as the database is down."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dop_be.live import Live
from dop_be.live.snapshot import Snapshot
from dop_be.maintenance.schedule import Window
from dop_be.maintenance.timeline import Timeline

from ..shared import snapshot_of

DAY = timedelta(days=1)


def with_daily_window(live: Live, made_at: datetime) -> Snapshot:
    """The state with a window of an hour every day at 02:00 UTC, as a process knows it that read it at `made_at`."""
    start = datetime(2021, 1, 1, 2, tzinfo=UTC)
    daily = Window(uuid.uuid4(), start, start + timedelta(hours=1), rrule="FREQ=DAILY")
    snapshot = snapshot_of(live)
    return replace(snapshot, timeline=Timeline(snapshot.settings, (daily,)))


def night(days: int) -> datetime:
    """02:30 UTC, so many days from today."""
    return datetime.now(UTC).replace(hour=2, minute=30) + days * DAY


def test_a_phase_is_remembered_while_it_lasts(live: Live) -> None:
    timeline = with_daily_window(live, night(0)).timeline
    moment = night(1).timestamp()
    phase = timeline.at(moment)
    assert phase.maintenance.active
    assert timeline.at(moment + 60) is phase
    assert timeline.at(phase.ends) is not phase
    assert not timeline.at(phase.ends).maintenance.active


def test_the_clock_may_be_set_back(live: Live) -> None:
    timeline = with_daily_window(live, night(0)).timeline
    assert [timeline.at(night(0).timestamp() + hours * 3600).maintenance.active for hours in (0, 2, 0, -2)] == [
        True,
        False,
        True,
        False,
    ]


def test_windows_go_on_for_as_long_as_the_database_is_away(live: Live) -> None:
    timeline = with_daily_window(live, night(-30)).timeline
    for days in (0, 1, 2, 3, 400):
        assert timeline.at(night(days).timestamp()).maintenance.active
        assert not timeline.at(night(days).timestamp() + 3600).maintenance.active


def test_a_phase_ends_at_the_end_of_the_utc_day_at_the_latest(live: Live) -> None:
    noon = datetime(2030, 3, 6, 12, tzinfo=UTC)
    phase = snapshot_of(live).timeline.at(noon.timestamp())
    assert phase.begins == datetime(2030, 3, 6, tzinfo=UTC).timestamp()
    assert phase.ends == datetime(2030, 3, 7, tzinfo=UTC).timestamp()


def test_what_is_next_is_known_beyond_the_days_that_are_expanded(live: Live, sql: Callable[..., list[Any]]) -> None:
    starts_at = datetime.now(UTC) + 200 * DAY
    sql(
        "INSERT INTO maintenance_windows (starts_at, ends_at) VALUES (:starts_at, :ends_at)",
        starts_at=starts_at,
        ends_at=starts_at + DAY,
    )
    assert live.refresh()
    assert starts_at.strftime("%Y-%m-%dT%H:%M") in snapshot_of(live).at(time.time()).document.body.decode()
