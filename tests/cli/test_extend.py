"""`flask maintenance extend` with no web process running, on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from .test_maintenance import run

Sql = Callable[..., list[Any]]


def at(hours: float) -> str:
    return (datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)).isoformat()


def schedule(cli: FlaskCliRunner, *more: str, start: float = -1, end: float = 1) -> str:
    """Plan a window; its id."""
    said = run(cli, "schedule", at(start), at(end), *more)
    [identifier] = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", said)
    return str(identifier)


def ends(sql: Sql) -> list[datetime]:
    found = [row["ends_at"] for row in sql("SELECT ends_at FROM maintenance_windows ORDER BY ends_at")]
    moments = [datetime.fromisoformat(value) if isinstance(value, str) else value for value in found]
    return [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments]


def test_a_time_is_added_to_the_end_of_the_open_window(cli: FlaskCliRunner, sql: Sql) -> None:
    identifier = schedule(cli)
    [before] = ends(sql)
    said = run(cli, "extend", "+1h30m", "--reason", "slow disks")
    assert said.startswith(f"moved the end of window {identifier} ")
    assert ends(sql) == [before + timedelta(minutes=90)]
    assert run(cli, "status", code=1)
    assert sql("SELECT reason FROM changes WHERE action = 'update'") == [{"reason": "slow disks"}]


def test_a_moment_is_the_new_end_and_the_same_again_is_no_error(cli: FlaskCliRunner, sql: Sql) -> None:
    identifier = schedule(cli)
    end = at(3)
    assert run(cli, "extend", end).startswith("moved the end of window ")
    assert run(cli, "extend", end, identifier).startswith(f"already so: window {identifier} ")
    assert ends(sql) == [datetime.fromisoformat(end)]


def test_of_a_window_that_recurs_it_says_what_goes_on(cli: FlaskCliRunner, sql: Sql) -> None:
    identifier = schedule(cli, "--every", "FREQ=DAILY")
    said = run(cli, "extend", "+30m")
    assert said.endswith(f"; window {identifier} recurs as before")
    before, after = ends(sql)
    assert after - before == timedelta(minutes=30)


@pytest.mark.parametrize("words", [("+30m",), ("+30m", "ID")])
def test_with_the_switch_on_it_says_what_to_do(cli: FlaskCliRunner, sql: Sql, words: tuple[str, ...]) -> None:
    identifier = schedule(cli, start=1, end=2)
    before = ends(sql)
    run(cli, "on")
    said = run(cli, "extend", *(word.replace("ID", identifier) for word in words), code=2)
    assert "The switch is on" in said
    assert "`flask maintenance off`" in said
    assert ends(sql) == before


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("soon", "'soon' is not an end; use +30m, or a time with its offset such as 2026-12-01T05:00:00+01:00."),
        ("30m", "'30m' is not an end;"),
        ("2031-12-01T05:00", "'2031-12-01T05:00' is not an end;"),
        ("+soon", "'soon' is not a duration; use 90s, 30m, 2h or 1d."),
        ("+", "'' is not a duration;"),
        ("2021-01-01T00:00:00Z", "TIME: Must be after the start."),
        ("2199-01-01T00:00:00Z", "TIME: A window is open for 31 days at most"),
    ],
)
def test_an_end_that_makes_no_sense_is_told(cli: FlaskCliRunner, sql: Sql, end: str, said: str) -> None:
    schedule(cli)
    before = ends(sql)
    assert said in run(cli, "extend", end, code=2)
    assert ends(sql) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("+30m",), "No window is open"),
        (("+30m", "00000000-0000-4000-8000-000000000000"), "There is no window 00000000-0000-4000-8000-000000000000."),
        (("+30m", "nonsense"), "'nonsense' is no window's id; type its first four characters"),
    ],
)
def test_a_window_that_is_not_there_is_told(cli: FlaskCliRunner, words: tuple[str, ...], said: str) -> None:
    assert said in run(cli, "extend", *words, code=2)
