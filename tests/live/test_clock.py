"""This host's clock may be set at any moment, also while the database is asked; what is in force goes on evenly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from dop_be import postgresql
from dop_be.engines import watching_engine
from dop_be.live import live
from dop_be.live.clock import Clock, host
from dop_be.live.loader import read

HOUR = 3600.0
NEAR = 1.0  # seconds
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets this process's clock to be so many seconds ahead of PostgreSQL's."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def set_to(seconds: float) -> None:
        ahead[0] = seconds

    return set_to


@pytest.fixture
def engine(postgresql_url: str) -> Iterator[Engine]:
    made = watching_engine(make_url(postgresql_url).set(drivername=postgresql.NAME), 60)
    read(made)  # so that later it asks one thing only
    yield made
    made.dispose()


def measured(engine: Engine) -> Clock:
    reading, clock = read(engine), Clock()
    assert reading.clock_offset is not None
    clock.measure(reading.clock_offset, reading.ours)
    return clock


@pytest.mark.parametrize(("before", "after"), [(0.0, HOUR), (HOUR, 0.0), (5.0, 0.0), (-HOUR, HOUR)])
def test_a_clock_that_is_set_while_the_database_answers(
    engine: Engine, set_clock: SetClock, before: float, after: float
) -> None:
    real = time.time
    set_clock(before)
    event.listen(engine, "after_cursor_execute", lambda *_: set_clock(after))
    clock = measured(engine)
    set_clock(0.0)
    assert abs(clock.now() - real()) < NEAR


def test_a_clock_that_is_set_between_an_answer_and_its_use(engine: Engine, set_clock: SetClock) -> None:
    set_clock(HOUR)
    reading, clock = read(engine), Clock()
    assert reading.clock_offset is not None
    set_clock(0.0)
    clock.measure(reading.clock_offset, reading.ours)
    assert abs(clock.now() - time.time()) < NEAR
    assert clock.is_due  # so that /readyz tells the difference that there is now
    clock.measure(0.0, host())
    assert not clock.is_due


def test_a_worker_whose_clock_is_set_between_reading_and_swap(
    make_app: Callable[..., Flask], postgresql_url: str, set_clock: SetClock
) -> None:
    state = live(make_app(postgresql_url))
    set_clock(HOUR)
    began, reading = state.begin(), read(state.engine)
    set_clock(0.0)
    state.take(reading, began)
    assert abs(state.now() - time.time()) < NEAR
