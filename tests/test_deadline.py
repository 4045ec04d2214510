"""The time that the database has: a fixed part, and ten round trips of what was measured."""

from __future__ import annotations

import pytest

from dop_be import deadline
from dop_be.deadline import RoundTrip, remaining, time_limit


def test_the_least_of_the_last_few_round_trips_counts() -> None:
    trip = RoundTrip()
    assert trip.seconds == 0
    trip.note(0.2)
    assert trip.seconds == 0.2
    trip.note(0.05)
    trip.note(0.3)
    assert trip.seconds == 0.05
    for _ in range(8):  # the network has become slower for good
        trip.note(0.4)
    assert trip.seconds == 0.4
    for _ in range(8):
        trip.note(60)
    assert trip.seconds == deadline.LONGEST_ROUND_TRIP


def test_a_limit_has_ten_round_trips_and_none_is_longer_than_the_one_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trip = RoundTrip()
    trip.note(0.2)
    monkeypatch.setattr(deadline, "round_trip", trip)
    assert remaining() is None
    with time_limit(10):
        assert 11.5 < (remaining() or 0) <= 12
        with time_limit(100):
            assert (remaining() or 0) <= 12
        with time_limit(1):
            assert (remaining() or 0) <= 3
    assert remaining() is None
