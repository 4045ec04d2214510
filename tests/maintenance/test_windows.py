"""The end of a window moves: of one alone, and of one time of a window that recurs; on both databases."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from dop_be.database import Author
from dop_be.errors import InvalidInput, NotFound
from dop_be.history import service as history
from dop_be.live import Live
from dop_be.maintenance import service, windows
from dop_be.maintenance.schedule import MOST_WINDOWS, Window

from ..shared import snapshot_of

BY = Author("tester", "cli", "takes longer")
HALF_AN_HOUR = timedelta(minutes=30)
Sql = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def hours(number: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=number)


def plan(start: float, end: float, **more: Any) -> Window:
    return service.schedule(BY, starts_at=hours(start), ends_at=hours(end), **more)[0]


def until(live: Live) -> datetime | None:
    """When the maintenance of this moment is over; it must be in force."""
    snapshot = snapshot_of(live)
    found = snapshot.at(live.now()).maintenance
    assert found.active
    return found.until


def known(live: Live) -> dict[uuid.UUID, Window]:
    return {window.id: window for window in snapshot_of(live).windows}


def recorded() -> list[Any]:
    return list(history.page(limit=10, kind="window")[0])


def test_the_end_of_the_one_open_window_moves(live: Live) -> None:
    window = plan(-1, 1, message="disks")
    plan(5, 6)
    done = windows.extend(BY, HALF_AN_HOUR)
    assert done.changed
    assert done.series is None
    assert until(live) == window.ends_at + HALF_AN_HOUR
    assert known(live)[window.id].message == "disks"
    entry = recorded()[0]
    assert (entry["key"], entry["action"], entry["reason"]) == (str(window.id), "update", "takes longer")
    assert set(entry["changes"]) == {"ends_at"}


def test_a_moment_is_the_end_itself_and_the_same_again_changes_nothing(live: Live) -> None:
    plan(-1, 1)
    for end in (hours(3), hours(0.5)):  # later, and earlier
        assert windows.extend(BY, end).changed
        assert until(live) == end
    count = len(recorded())
    assert not windows.extend(BY, end).changed
    assert len(recorded()) == count


def test_one_that_is_not_open_is_named(live: Live) -> None:
    window = plan(5, 6)
    done = windows.extend(BY, HALF_AN_HOUR, window.id)
    assert done.window.ends_at == window.ends_at + HALF_AN_HOUR
    assert list(known(live).values()) == [done.window]


def test_what_was_opened_in_the_place_of_the_switch_stays_that(live: Live) -> None:
    service.switch(BY, active=True, until=hours(1))
    windows.extend(BY, HALF_AN_HOUR)
    service.switch(BY, active=True, until=hours(4))
    assert len(known(live)) == 1
    assert until(live) is not None


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (timedelta(days=31), "A window is open for 31 days at most; the switch has no end."),
        (timedelta(hours=-1.5), windows.WOULD_BE_OVER),
        (timedelta(hours=-3), "Must be after the start."),
    ],
)
@pytest.mark.parametrize("rrule", [None, "FREQ=DAILY"])
def test_an_end_that_no_window_may_have_changes_nothing(
    live: Live, end: timedelta, said: str, rrule: str | None
) -> None:
    window = plan(-1, 1, rrule=rrule)
    with pytest.raises(InvalidInput) as refused:
        windows.extend(BY, end)
    assert refused.value.errors == {"ends_at": [said]}
    assert list(known(live).values()) == [window]


def test_with_the_switch_on_there_is_no_end_to_move(live: Live) -> None:
    window = plan(-1, 1)
    service.switch(BY, active=True, until=None)
    for named in (None, window.id):
        with pytest.raises(InvalidInput, match="flask maintenance off"):
            windows.extend(BY, HALF_AN_HOUR, named)
    assert list(known(live).values()) == [window]


def test_none_or_several_open_windows_are_told_and_left(live: Live) -> None:
    with pytest.raises(InvalidInput, match="No window is open"):
        windows.extend(BY, HALF_AN_HOUR)
    both = [plan(-1, 1), plan(-2, 2)]
    with pytest.raises(InvalidInput, match="Several windows are open") as refused:
        windows.extend(BY, HALF_AN_HOUR)
    assert all(str(window.id) in refused.value.detail for window in both)
    assert sorted(known(live)) == sorted(window.id for window in both)
    assert windows.extend(BY, HALF_AN_HOUR, both[0].id).window.id == both[0].id


def test_a_window_that_nobody_knows_is_told() -> None:
    with pytest.raises(NotFound):
        windows.extend(BY, HALF_AN_HOUR, uuid.UUID(int=1))


@pytest.fixture
def daily(live: Live) -> Window:
    """A window that is open, and is again tomorrow."""
    window = plan(-1, 1, rrule="FREQ=DAILY", mode="read_only", message="backup", timezone="Asia/Kolkata")
    assert until(live) == window.ends_at
    return window


def test_of_one_that_recurs_this_time_alone_moves(live: Live, daily: Window) -> None:
    done = windows.extend(BY, HALF_AN_HOUR)
    assert done.series == daily
    assert until(live) == daily.ends_at + HALF_AN_HOUR
    now = snapshot_of(live).at(live.now()).maintenance
    assert (now.mode, now.message, now.since) == ("read_only", "backup", daily.starts_at)
    series, once = known(live)[daily.id], known(live)[done.window.id]
    assert (series.starts_at, series.ends_at, series.rrule) == (daily.starts_at, daily.ends_at, daily.rrule)
    assert (once.starts_at, once.rrule, once.timezone) == (daily.starts_at, None, "Asia/Kolkata")
    tomorrow = snapshot_of(live).at(daily.ends_at.timestamp() + 86_400 - 1).maintenance
    assert (tomorrow.active, tomorrow.until) == (True, daily.ends_at + timedelta(days=1))
    assert not snapshot_of(live).at(daily.ends_at.timestamp() + 86_400).maintenance.active


def test_the_history_tells_both_what_ended_and_what_goes_on(daily: Window) -> None:
    done = windows.extend(BY, HALF_AN_HOUR)
    new, ended = recorded()[:2]
    assert (ended["key"], ended["action"], set(ended["changes"])) == (str(daily.id), "update", {"ended_at"})
    assert (new["key"], new["action"]) == (str(done.window.id), "insert")
    assert {entry["reason"] for entry in (new, ended)} == {"takes longer"}


@pytest.mark.parametrize("by_id", [False, True])
def test_again_it_moves_the_same_time_once_more(live: Live, daily: Window, by_id: bool) -> None:
    first = windows.extend(BY, HALF_AN_HOUR, daily.id)
    again = windows.extend(BY, HALF_AN_HOUR, daily.id if by_id else None)
    assert again.window.id == first.window.id
    assert until(live) == daily.ends_at + 2 * HALF_AN_HOUR
    assert len(known(live)) == 2
    same = windows.extend(BY, again.window.ends_at, daily.id)
    assert not same.changed


def test_one_that_recurs_and_is_not_open_is_left_alone(live: Live) -> None:
    window = plan(1, 2, rrule="FREQ=DAILY")
    with pytest.raises(InvalidInput, match="recurs and is not open"):
        windows.extend(BY, HALF_AN_HOUR, window.id)
    assert list(known(live).values()) == [window]


def test_off_ends_the_time_that_was_extended_and_the_rule_goes_on(live: Live, daily: Window) -> None:
    windows.extend(BY, HALF_AN_HOUR)
    outcome = service.switch(BY, active=False)
    assert not outcome.phase.maintenance.active
    assert list(known(live)) == [daily.id]
    assert snapshot_of(live).at(daily.starts_at.timestamp() + 86_400).maintenance.active
    with pytest.raises(InvalidInput, match="recurs and is not open"):
        windows.extend(BY, HALF_AN_HOUR, daily.id)  # what off has ended, nobody opens again


def test_cancelling_the_rule_leaves_the_time_that_is_open_and_the_other_way_round(live: Live, daily: Window) -> None:
    done = windows.extend(BY, HALF_AN_HOUR)
    service.cancel(BY, daily.id)
    assert until(live) == daily.ends_at + HALF_AN_HOUR
    service.cancel(BY, done.window.id)
    assert not snapshot_of(live).at(live.now()).maintenance.active


def test_an_end_beyond_the_next_time_joins_both_and_off_ends_both(live: Live, daily: Window) -> None:
    end = daily.starts_at + timedelta(days=1, hours=1)
    windows.extend(BY, end)
    assert until(live) == daily.ends_at + timedelta(days=1)  # the union with tomorrow's time
    for second in range(0, 26 * 3600, 600):
        moment = daily.starts_at.timestamp() + second
        assert snapshot_of(live).at(moment).maintenance.active, second
    assert not snapshot_of(live).at(daily.ends_at.timestamp() + 86_400).maintenance.active


def test_the_limit_of_windows_opens_no_gate(live: Live, daily: Window, sql: Sql) -> None:
    for number in range(MOST_WINDOWS - 1):
        plan(10 + number, 11 + number)
    with pytest.raises(InvalidInput, match="windows are planned already"):
        plan(1, 2)
    windows.extend(BY, HALF_AN_HOUR)
    assert until(live) == daily.ends_at + HALF_AN_HOUR
