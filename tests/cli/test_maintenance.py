"""`flask maintenance …` with no web process running, on both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient, FlaskCliRunner

from tests.conftest import ADMIN

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?"
LOCAL = rf"{CLOCK} CES?T"
Sql = Callable[..., list[Any]]


def run(cli: FlaskCliRunner, *words: str, code: int = 0) -> str:
    result = cli.invoke(args=["maintenance", *words])
    assert result.exit_code == code, result.output
    return result.output.strip()


def undated(said: str) -> str:
    """What was said, without how long from now something is."""
    return re.sub(r" \((now|in .*?|.*? ago)\)", "", said)


def test_on_for_a_time_is_a_window_that_ends_by_itself(cli: FlaskCliRunner, sql: Sql) -> None:
    before = datetime.now(UTC)
    said = run(cli, "on", "--for", "1h30m", "--mode", "read_only", "--message", "deploy")
    found = re.fullmatch(
        rf"maintenance is on \(read_only\) since {LOCAL} \((?:now|\d+ s ago)\)"
        rf" until ({CLOCK}) CES?T \(in 1 h 30 min\): deploy",
        said,
    )
    assert found
    until = datetime.fromisoformat(found[1]).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert -timedelta(seconds=1) <= until - before - timedelta(minutes=90) < timedelta(seconds=30)
    assert not sql("SELECT is_maintain FROM system_settings")[0]["is_maintain"]
    assert undated(run(cli, "status", code=1)) == undated(said)


@pytest.mark.parametrize(("name", "value"), [("message", "later"), ("mode", "full")])
def test_on_in_a_window_of_its_own_changes_only_what_is_named(
    cli: FlaskCliRunner, sql: Sql, name: str, value: str
) -> None:
    said = run(cli, "on", "--for", "30m", "--mode", "read_only", "--message", "soon")
    assert undated(run(cli, "on")) == undated(said.replace("is on", "is already on"))
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
    assert undated(run(cli, "status", code=1)) == undated(before.replace("planned", "longer than we thought"))
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
    assert re.fullmatch(rf"maintenance is off; ended window {UUID}  .+ to .+  full", run(cli, "off"))
    assert run(cli, "off") == "maintenance is already off"
    assert run(cli, "status") == "maintenance is off"


def test_on_and_off_take_a_reason(cli: FlaskCliRunner) -> None:
    assert run(cli, "on", "--reason", "disk full").startswith("maintenance is on (full)")
    assert run(cli, "on").startswith("maintenance is already on (full)")
    assert run(cli, "off", "--reason", "done") == "maintenance is off"


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
    again = run(cli, "on")  # once off, the next one begins with the defaults
    assert re.fullmatch(rf"maintenance is on \(full\) since {LOCAL} \(.+\)", again)


def test_a_second_on_for_a_time_moves_the_end_and_leaves_planned_windows_alone(cli: FlaskCliRunner) -> None:
    run(cli, "schedule", "2031-12-02T02:00:00Z", "2031-12-02T04:00:00Z")
    first = run(cli, "on", "--for", "30m", "--mode", "read_only", "--message", "disks")
    second = run(cli, "on", "--for", "60m")
    assert first != second
    assert "on (read_only)" in second
    assert second.endswith(": disks")
    assert len(run(cli, "windows").splitlines()) == 2


def test_status_tells_the_next_window(cli: FlaskCliRunner) -> None:
    assert run(cli, "status") == "maintenance is off"
    run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z")
    planned = run(cli, "schedule", "2031-12-01T22:00Z", "2031-12-02T05:00Z", "--mode=read_only", "--message=new disks")
    [identifier] = re.findall(UUID, planned)
    off, following = run(cli, "status").splitlines()
    assert off == "maintenance is off"
    assert undated(following) == (
        f"the next window is {identifier[:8]}  2031-12-01 23:00 to 2031-12-02 06:00 CET  read_only: new disks"
    )
    run(cli, "on")
    on, still = run(cli, "status", code=1).splitlines()
    assert on.startswith("maintenance is on (full)")
    assert undated(still) == undated(following)


def test_on_and_off_tell_in_json_what_the_api_does(cli: FlaskCliRunner, client: FlaskClient) -> None:
    url = "/api/v1/maintenance"

    def said(*words: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(run(cli, *words, "--json"))
        return body

    on = said("on", "--mode", "read_only", "--message", "soon")
    assert on == {**client.put(url, json=state(on), headers=ADMIN).get_json(), "changed": True}
    assert said("on") == {**on, "changed": False}
    said("on", "--for", "30m")
    off = said("off")
    assert (off["active"], off["changed"], [window["mode"] for window in off["ended"]]) == (False, True, ["full"])
    again = said("off")
    assert again == {**client.put(url, json={"active": False}, headers=ADMIN).get_json(), "changed": False}
    assert "ended" not in again


def state(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: shown[name] for name in ("active", "mode", "message")}
