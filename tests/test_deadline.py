"""The time that the database has: a fixed part, and ten round trips of what was measured."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from psycopg2 import extensions

from dop_be import deadline
from dop_be.deadline import RoundTrip, connecting, patient, ready, remaining, time_limit


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


@pytest.fixture
def answering() -> Iterator[int]:
    """A socket that has always something to say."""
    ours, theirs = socket.socketpair()
    theirs.send(b"!")
    with ours, theirs:
        yield ours.fileno()


def test_a_slow_server_that_goes_on_answering_has_three_times_as_long_from_a_patient_thread(answering: int) -> None:
    token = patient.set(True)
    began = time.monotonic()
    with time_limit(5), connecting(1.0):
        time.sleep(0.3)
        assert (remaining() or 0) < 0.75
        assert ready({answering: extensions.POLL_READ}, remaining())
        assert (remaining() or 0) > 0.75
        while remaining():
            ready({answering: extensions.POLL_READ}, remaining())
            time.sleep(0.05)
        assert time.monotonic() - began > 2.9
    patient.reset(token)


def test_what_a_server_answers_gives_nobody_else_more_time(answering: int) -> None:
    with time_limit(5), connecting(1.0):
        time.sleep(0.3)
        assert ready({answering: extensions.POLL_READ}, remaining())
        assert (remaining() or 0) < 0.75
