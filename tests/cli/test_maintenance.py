"""`flask maintenance …` with no web process running, on both databases."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
Sql = Callable[..., list[Any]]


def run(cli: FlaskCliRunner, *words: str, code: int = 0) -> str:
    result = cli.invoke(args=["maintenance", *words])
    assert result.exit_code == code, result.output
    return result.output.strip()


def test_on_for_a_time_is_a_window_that_ends_by_itself(cli: FlaskCliRunner, sql: Sql) -> None:
    before = datetime.now(UTC)
    said = run(cli, "on", "--for", "1h30m", "--mode", "read_only", "--message", "deploy")
    found = re.fullmatch(r"maintenance is on \(read_only\) since \S+ until (\S+): deploy", said)
    assert found
    until = datetime.fromisoformat(found[1])
    assert timedelta(0) <= until - before - timedelta(minutes=90) < timedelta(seconds=30)
    assert not sql("SELECT is_maintain FROM system_settings")[0]["is_maintain"]
    assert run(cli, "status", code=1) == said


@pytest.mark.parametrize(("name", "value"), [("message", "later"), ("mode", "full")])
def test_on_in_a_window_of_its_own_changes_only_what_is_named(
    cli: FlaskCliRunner, sql: Sql, name: str, value: str
) -> None:
    said = run(cli, "on", "--for", "30m", "--mode", "read_only", "--message", "soon")
    assert run(cli, "on") == said.replace("is on", "is already on")
    [before] = sql("SELECT * FROM maintenance_windows")
    run(cli, "on", f"--{name}", value)
    [after] = sql("SELECT * FROM maintenance_windows")
    assert after == {**before, name: value}
    assert [row["is_maintain"] for row in sql("SELECT is_maintain FROM system_settings")] == [False]


def test_on_in_a_planned_window_keeps_its_end_and_its_row(cli: FlaskCliRunner, sql: Sql) -> None:
    sql(
        "INSERT INTO maintenance_windows (starts_at, ends_at, mode, message) VALUES (:start, :end, 'full', 'planned')",
        start=datetime.now(UTC) - timedelta(hours=1),
        end=datetime.now(UTC) + timedelta(hours=1),
    )
    planned = sql("SELECT * FROM maintenance_windows")
    assert run(cli, "on").startswith("maintenance is already on (full)")
    assert sql("SELECT * FROM maintenance_windows") == planned
    before = run(cli, "status", code=1)
    run(cli, "on", "--message", "longer than we thought")
    assert run(cli, "status", code=1) == before.replace("planned", "longer than we thought")
    assert planned[0] in sql("SELECT * FROM maintenance_windows")
    assert run(cli, "off").count("ended window") == 2


def test_a_second_on_leaves_alone_what_is_open_beside_the_switch(cli: FlaskCliRunner) -> None:
    run(cli, "on", "--mode", "read_only")
    run(cli, "on", "--for", "30m", "--mode", "full")
    assert "on (full)" in run(cli, "on")


@pytest.mark.parametrize("duration", ["", "0m", "30", "half an hour", "-5m", "1h1d", "99999999d", "32d"])
def test_a_time_that_makes_no_sense_is_refused(cli: FlaskCliRunner, sql: Sql, duration: str) -> None:
    run(cli, "on", f"--for={duration}", code=2)
    assert sql("SELECT id FROM maintenance_windows") == []


def test_a_time_that_is_too_long_is_told_by_the_options_name(cli: FlaskCliRunner) -> None:
    assert run(cli, "on", "--for=32d", code=2).startswith("Error: --for: ")


@pytest.mark.parametrize("duration", ["99999999999d", "1d100000s", "9" * 5000 + "m"])
def test_a_duration_with_too_many_digits_is_called_too_long(cli: FlaskCliRunner, duration: str) -> None:
    assert "is too long; use 5 digits at most before each letter." in run(cli, "on", f"--for={duration}", code=2)


def test_off_ends_open_windows_and_says_which(cli: FlaskCliRunner) -> None:
    run(cli, "on", "--for", "30m")
    assert re.fullmatch(rf"maintenance is off; ended window {UUID}  \S+ to \S+ \(full\)", run(cli, "off"))
    assert run(cli, "off") == "maintenance is already off"
    assert run(cli, "status") == "maintenance is off"


def test_on_and_off_take_a_reason(cli: FlaskCliRunner) -> None:
    assert run(cli, "on", "--reason", "disk full").startswith("maintenance is on (full)")
    assert run(cli, "on").startswith("maintenance is already on (full)")
    assert run(cli, "off", "--reason", "done") == "maintenance is off"


def test_local_times_are_planned_in_a_zone_listed_and_cancelled(cli: FlaskCliRunner) -> None:
    planned = run(cli, "schedule", "2031-12-02T02:00", "2031-12-02T04:00", "--tz", "Europe/Berlin",
                  "--every", "FREQ=WEEKLY;BYDAY=TU", "--message", "weekly")  # fmt: skip
    found = re.fullmatch(
        rf"planned window (({UUID})  2031-12-02T01:00:00.000000Z to 2031-12-02T03:00:00.000000Z \(full\)"
        r"  every FREQ=WEEKLY;BYDAY=TU in Europe/Berlin: weekly)",
        planned,
    )
    assert found
    assert run(cli, "windows") == found[1]
    assert run(cli, "cancel", found[2]) == f"cancelled window {found[1]}"
    assert run(cli, "windows") == ""
    assert run(cli, "cancel", found[2]) == f"window {found[2]} is already cancelled"
    unknown = str(uuid.uuid4())
    assert run(cli, "cancel", unknown, code=2) == f"Error: There is no window {unknown}."


def test_an_open_window_is_listed_as_open(cli: FlaskCliRunner) -> None:
    run(cli, "on", "--for", "30m")
    assert run(cli, "windows").endswith("(full)  open")


def test_times_with_an_offset_need_no_zone(cli: FlaskCliRunner) -> None:
    said = run(cli, "schedule", "2031-12-02T02:00:00+01:00", "2031-12-02T04:00:00+01:00")
    assert "2031-12-02T01:00:00.000000Z to 2031-12-02T03:00:00.000000Z" in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["2031-12-02T02:00", "2031-12-02T04:00"], "START"),
        (["2031-12-02T02:00", "2031-12-02T01:00", "--tz", "Europe/Berlin"], "END"),
        (["2031-12-02T02:00", "2031-12-02T03:00", "--tz", "Berlin"], "--tz"),
        (["tomorrow", "2031-12-02T03:00Z"], "START"),
        (["2031-12-02T02:00Z", "2031-12-02T03:00Z", "--every", "daily"], "--every"),
    ],
)
def test_a_window_that_makes_no_sense_ends_with_one_line_and_2(
    cli: FlaskCliRunner, words: list[str], named: str
) -> None:
    said = run(cli, "schedule", *words, code=2)
    assert said.startswith(f"Error: {named}: ")
    assert "\n" not in said
    assert run(cli, "windows") == ""


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (
            "weekly",
            "'weekly' is not a part of a rule; use FREQ, INTERVAL, COUNT, UNTIL, WKST, BYDAY, BYMONTHDAY, BYMONTH,",
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


def test_an_empty_zone_is_told_what_is_expected(cli: FlaskCliRunner) -> None:
    said = run(cli, "schedule", "2031-12-02T02:00", "2031-12-02T04:00", "--tz", "", code=2)
    assert said == "Error: --tz: Expected an IANA time zone, such as Europe/Berlin."


@pytest.mark.parametrize(
    ("start", "end", "named"),
    [("2031-12-02T02:00", "2031-12-02T04:00Z", "START"), ("2031-12-02T02:00Z", "2031-12-02T04:00", "END")],
)
def test_a_time_without_an_offset_asks_for_the_option(cli: FlaskCliRunner, start: str, end: str, named: str) -> None:
    wanted = f"Error: {named}: A time without an offset needs --tz, such as --tz Europe/Berlin."
    assert run(cli, "schedule", start, end, code=2) == wanted


def test_an_error_about_no_single_field_has_no_prefix(cli: FlaskCliRunner, sql: Sql) -> None:
    for number in range(100):
        sql(
            "INSERT INTO maintenance_windows (id, starts_at, ends_at) VALUES"
            " (:id, '2031-12-02 02:00:00+00:00', '2031-12-02 03:00:00+00:00')",
            id=uuid.UUID(int=number).hex,
        )
    said = run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", code=2)
    assert said == "Error: 100 windows are planned already; cancel one first."


def test_a_time_beside_the_switch_says_that_it_does_not_end_by_itself(cli: FlaskCliRunner) -> None:
    assert "by itself" not in cli.invoke(args=["maintenance", "on"]).output
    result = cli.invoke(args=["maintenance", "on", "--for", "30m"])
    assert result.exit_code == 0
    assert result.output.endswith("; the switch is on too, so it does not end by itself\n")


def test_on_while_it_is_on_changes_only_what_is_named(cli: FlaskCliRunner) -> None:
    assert "on (read_only)" in run(cli, "on", "--mode", "read_only", "--message", "soon")
    assert run(cli, "on").startswith("maintenance is already on (read_only)")
    assert run(cli, "on", "--message", "later").endswith(": later")
    assert "on (read_only)" in run(cli, "status", code=1)
    assert "on (full)" in run(cli, "on", "--mode", "full")
    run(cli, "off")
    assert run(cli, "on").endswith("Z")  # once off, the next one begins with the defaults


def test_a_second_on_for_a_time_moves_the_end_and_leaves_planned_windows_alone(cli: FlaskCliRunner) -> None:
    run(cli, "schedule", "2031-12-02T02:00:00Z", "2031-12-02T04:00:00Z")
    first = run(cli, "on", "--for", "30m", "--mode", "read_only", "--message", "disks")
    second = run(cli, "on", "--for", "60m")
    assert first != second
    assert "on (read_only)" in second
    assert second.endswith(": disks")
    assert len(run(cli, "windows").splitlines()) == 2


@pytest.mark.parametrize(
    ("made", "end", "shown"),
    [
        (timedelta(hours=1), None, "expires"),
        (timedelta(hours=3), None, "expired"),
        (timedelta(days=40), timedelta(days=365), "expired"),
    ],
)
def test_a_bypass_from_sql_is_listed_with_the_end_that_the_gate_knows(
    cli: FlaskCliRunner, sql: Sql, made: timedelta, end: timedelta | None, shown: str
) -> None:
    now = datetime.now(UTC)
    sql(
        "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by, expires_at)"
        " VALUES ('aaaaaaaa', 'visitor', 'x', 'maintenance:bypass', :made, 'sql', :end)",
        made=now - made,
        end=end and now + end,
    )
    assert run(cli, "bypass", "list").startswith(f"visitor  {shown} 20")
    free = shown == "expired"
    run(cli, "bypass", "create", "visitor", code=0 if free else 2)
