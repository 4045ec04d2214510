"""What is in force, by the contract's rules about the switch and overlapping windows."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dop_be.maintenance.policy import announced, boundaries, in_force, lets_through, retry_after, upcoming
from dop_be.maintenance.schedule import Occurrence, Window

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
OFF = {
    "is_maintain": False,
    "maintenance_mode": "full",
    "maintenance_message": None,
    "maintenance_since": NOON - timedelta(days=9),
    "revision": 7,
}
ON = {**OFF, "is_maintain": True, "maintenance_message": "switched", "maintenance_since": NOON - timedelta(hours=2)}


def occurrence(start: float, end: float, mode: str = "full", message: str | None = None) -> Occurrence:
    """One from `start` to `end`, in hours from noon."""
    times = [NOON + timedelta(hours=hours) for hours in (start, end)]
    return Occurrence(times[0], times[1], Window(uuid.uuid4(), times[0], times[1], mode, message))


def facts(settings: dict[str, Any], *found: Occurrence) -> tuple[Any, ...]:
    """Mode, message, source, and since and until in hours from noon."""
    now = in_force(settings, sorted(found, key=lambda one: one.starts_at), NOON)
    hours = [moment and (moment - NOON) / timedelta(hours=1) for moment in (now.since, now.until)]
    return (now.active, now.mode, now.message, now.source, *hours)


def test_nothing_is_in_force_between_windows() -> None:
    assert facts(OFF, occurrence(-3, 0), occurrence(1, 2)) == (False, "full", None, None, None, None)


def test_an_open_window_is_in_force_with_its_mode_message_and_times() -> None:
    found = occurrence(-1, 2, "read_only", "moving the disks")
    assert facts(OFF, found) == (True, "read_only", "moving the disks", "window", -1, 2)


def test_the_switch_has_no_end() -> None:
    assert facts(ON) == (True, "full", "switched", "switch", -2, None)
    assert facts(ON, occurrence(-1, 2, "full", "planned")) == (True, "full", "switched", "switch", -2, None)


def test_a_full_window_is_stricter_than_a_read_only_switch() -> None:
    read_only = {**ON, "maintenance_mode": "read_only"}
    assert facts(read_only, occurrence(-1, 2, "full", "planned")) == (True, "full", "planned", "switch", -2, None)
    assert facts(read_only, occurrence(-1, 2, "read_only", "planned"))[1:3] == ("read_only", "switched")


def test_of_overlapping_windows_the_stricter_counts_and_the_end_is_that_of_all() -> None:
    mild, strict = occurrence(-2, 3, "read_only", "mild"), occurrence(-1, 1, "full", "strict")
    assert facts(OFF, mild, strict) == (True, "full", "strict", "window", -2, 3)


def test_of_equally_strict_windows_the_first_counts() -> None:
    assert facts(OFF, occurrence(-2, 1, message="first"), occurrence(-1, 3, message="second"))[2] == "first"


def test_the_end_is_that_of_windows_that_begin_before_it_or_just_then() -> None:
    assert facts(OFF, occurrence(-1, 1), occurrence(0.5, 2), occurrence(2, 4), occurrence(5, 6))[-1] == 4


def test_the_next_window_is_the_next_to_start_also_while_one_is_open() -> None:
    first, mild, strict = occurrence(-1, 1), occurrence(0.5, 2, "read_only"), occurrence(0.5, 1)
    assert upcoming([first, mild, strict], NOON) is strict
    assert upcoming([first], NOON) is None
    assert upcoming([occurrence(0, 1)], NOON) is None  # it has started


def test_a_window_is_announced_a_day_ahead() -> None:
    assert announced(occurrence(24, 25), NOON)
    assert not announced(occurrence(24.001, 25), NOON)
    assert not announced(None, NOON)


@given(st.lists(st.tuples(st.integers(-60, 60), st.integers(1, 40)), max_size=6), st.data())
def test_nothing_changes_between_boundaries(spans: list[tuple[int, int]], data: st.DataObject) -> None:
    found = sorted((occurrence(start, start + length) for start, length in spans), key=lambda one: one.starts_at)
    begins, ends = boundaries(found, NOON)
    assert begins <= NOON.timestamp() < ends
    low, high = max(begins, NOON.timestamp() - 1e6), min(ends, NOON.timestamp() + 1e6)
    moment = datetime.fromtimestamp(data.draw(st.integers(math.ceil(low), math.ceil(high) - 1)), UTC)
    assert in_force(OFF, found, moment) == in_force(OFF, found, NOON)
    assert upcoming(found, moment) == upcoming(found, NOON)
    assert announced(upcoming(found, moment), moment) == announced(upcoming(found, NOON), NOON)


def waits(since: datetime | None, until: datetime | None, now: float) -> set[int]:
    """Everything that many clients are told at this moment."""
    return {retry_after(since, until, now, default=120, spread=30) for _ in range(3_000)}


@pytest.mark.parametrize(("left", "seconds"), [(90.0, 90), (89.2, 90), (0.2, 1), (0.0, 1), (-5.0, 1)])
@pytest.mark.parametrize(
    ("length", "spread"),
    [(None, 30), (86_400, 30), (300, 30), (299, 29), (100, 10), (10, 1), (3, 1)],  # a tenth, and at least 1
)
def test_retry_after_is_spread_after_the_end_and_never_before(
    left: float, seconds: int, length: int | None, spread: int
) -> None:
    since = None if length is None else NOON - timedelta(seconds=length)
    assert waits(since, NOON, NOON.timestamp() - left) == set(range(seconds, seconds + spread + 1))


def test_retry_after_is_the_default_where_no_end_is_known() -> None:
    assert waits(NOON, None, NOON.timestamp()) == {120}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get", "QUERY", ""])
def test_read_only_refuses_whatever_is_not_get_head_or_options(method: str) -> None:
    read_only = in_force({**ON, "maintenance_mode": "read_only"}, [], NOON)
    assert not lets_through(read_only, method, preflight=False)
    assert all(lets_through(read_only, safe, preflight=False) for safe in ("GET", "HEAD", "OPTIONS"))


def test_full_refuses_everything_but_a_preflight() -> None:
    full = in_force(ON, [], NOON)
    assert not lets_through(full, "GET", preflight=False)
    assert lets_through(full, "OPTIONS", preflight=True)
