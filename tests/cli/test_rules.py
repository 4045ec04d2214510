"""`--every`: by a word, by a rule, and by what a shell leaves of a rule that is not quoted."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from dop_be.maintenance.schedule import Window, occurrences

from .test_maintenance import run


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (
            "fortnightly",
            "'fortnightly' is not a part of a rule; use FREQ, INTERVAL, COUNT, UNTIL, WKST, BYDAY, BYMONTHDAY,",
        ),
        ("FREQ=secondly", "FREQ cannot be 'secondly'; use YEARLY, MONTHLY, WEEKLY or DAILY."),
        ("FREQ=DAILY;COUNT=1000", "COUNT cannot be '1000'; use 1 to 999."),
        (
            "FREQ=DAILY;UNTIL=yesterday",
            "UNTIL cannot be 'yesterday'; use 20271231, 20271231T235900 or 20271231T235900Z.",
        ),
        ("FREQ=DAILY;UNTIL=20271399", "UNTIL cannot be '20271399'; use 20271231, "),
        ("FREQ=DAILY;BYDAY=MON", "BYDAY cannot be 'MON'; use MO, TU, "),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR cannot be '24'; use 0 to 23, with commas between."),
        ("FREQ=DAILY;freq=DAILY", "FREQ is there twice; write it once."),
        ("rrule:COUNT=3", "Needs FREQ: YEARLY, MONTHLY, WEEKLY or DAILY."),
        ("FREQ=WEEKLY;BYDAY=WE", "Does not pick the window's start, 2031-12-02 02:00:00 on the zone's clock: "),
    ],
)
def test_a_rule_that_is_refused_is_told_what_is_allowed(cli: FlaskCliRunner, rule: str, complaint: str) -> None:
    said = run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", rule, code=2)
    assert said.startswith(f"Error: --every: {complaint}")


def test_a_rule_may_be_written_in_any_case(cli: FlaskCliRunner) -> None:
    said = run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", " rrule:freq=weekly;byday=tu ")
    assert said.endswith("  every FREQ=WEEKLY;BYDAY=TU in UTC")


@pytest.mark.parametrize(
    ("word", "starts"),
    [
        ("hourly", ["2031-12-02T02:30", "2031-12-02T03:30", "2031-12-02T04:30"]),
        ("daily", ["2031-12-02T02:30", "2031-12-03T02:30", "2031-12-04T02:30"]),
        ("Weekly", ["2031-12-02T02:30", "2031-12-09T02:30", "2031-12-16T02:30"]),
        (" monthly ", ["2031-12-02T02:30", "2032-01-02T02:30", "2032-02-02T02:30"]),
    ],
)
def test_a_word_recurs_at_the_starts_own_time(cli: FlaskCliRunner, word: str, starts: list[str]) -> None:
    made = planned(cli, "2031-12-02T02:30", "2031-12-02T02:45", "--tz", "Europe/Berlin", "--every", word)
    start, end = (datetime.fromisoformat(made[name]) for name in ("starts_at", "ends_at"))
    window = Window(uuid.UUID(made["id"]), start, end, timezone=made["timezone"], rrule=made["rrule"])
    found = islice(occurrences(window, window.starts_at), 3)
    assert [each.starts_at for each in found] == [
        datetime.fromisoformat(start).replace(tzinfo=ZoneInfo("Europe/Berlin")) for start in starts
    ]


def test_months_that_lack_the_day_are_told(cli: FlaskCliRunner) -> None:
    result = schedule(cli, "2031-12-31T02:00Z", "2031-12-31T04:00Z", "--every", "monthly")
    assert result.exit_code == 0
    assert "months without a day 31 are left out" in result.stderr
    assert schedule(cli, "2031-12-28T02:00Z", "2031-12-28T04:00Z", "--every", "monthly").stderr == ""


CUT = "If a ; followed {}, the shell ended the command there: quote the whole rule, --every 'FREQ=WEEKLY;BYDAY=SU'."


def test_a_rule_that_a_shell_may_have_cut_is_planned_with_a_word_on_stderr(cli: FlaskCliRunner) -> None:
    result = schedule(cli, "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", "FREQ=WEEKLY", "--json")
    identifier = json.loads(result.stdout)["id"]
    assert result.exit_code == 0
    assert result.stderr == (
        "--every was FREQ=WEEKLY alone: if a ; followed, the shell ended the command there;"
        f" cancel window {identifier[:8]} and quote the whole rule, --every 'FREQ=WEEKLY;BYDAY=SU'\n"
    )


@pytest.mark.parametrize(
    ("words", "complaint", "rule"),
    [
        (["2031-12-02T02:00", "2031-12-02T04:00", "--every", "FREQ=WEEKLY"], "START: A time without", "FREQ=WEEKLY"),
        (["2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", "INTERVAL=2"], "--every: Needs FREQ", "INTERVAL=2"),
        (["2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", "FREQ=DAILY;"], "--every: '' is not", "FREQ=DAILY;"),
    ],
)
def test_an_error_of_a_rule_that_a_shell_may_have_cut_says_what_to_quote(
    cli: FlaskCliRunner, words: list[str], complaint: str, rule: str
) -> None:
    said = run(cli, "schedule", *words, code=2)
    assert said.startswith(f"Error: {complaint}")
    assert said.endswith(CUT.format(rule))
    assert "\n" not in said


@pytest.mark.parametrize("every", ["weekly", "FREQ=WEEKLY;BYDAY=TU"])
def test_a_whole_rule_and_a_word_raise_no_doubt(cli: FlaskCliRunner, every: str) -> None:
    assert schedule(cli, "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", every).stderr == ""
    said = run(cli, "schedule", "2031-12-02T02:00", "2031-12-02T04:00", "--every", every, code=2)
    assert said == "Error: START: A time without an offset needs --tz, such as --tz Europe/Berlin."


def test_a_word_that_is_none_is_told_which_there_are(cli: FlaskCliRunner) -> None:
    said = run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", "fortnightly", code=2)
    assert said.endswith(" A word may be hourly, daily, weekly or monthly.")


def schedule(cli: FlaskCliRunner, *words: str) -> Result:
    return cli.invoke(args=["maintenance", "schedule", *words])


def planned(cli: FlaskCliRunner, *words: str) -> dict[str, Any]:
    result = schedule(cli, *words, "--json")
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.stdout)
    return made
