"""`flask settings …`, on both databases."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient, FlaskCliRunner

from dop_be.live import Live
from tests.conftest import ADMIN


def test_show_lists_every_setting_by_name(cli: FlaskCliRunner) -> None:
    result = cli.invoke(args=["settings", "show"])
    assert result.exit_code == 0
    shown = dict(line.split(maxsplit=1) for line in result.output.splitlines())
    assert shown["is_maintain"] == "false"
    assert shown["maintenance_mode"] == "full"
    assert shown["maintenance_message"] == "null"
    assert shown["revision"] == "1"
    assert len(shown["id"]) == 36


def test_show_json_is_what_the_api_answers(cli: FlaskCliRunner, client: FlaskClient) -> None:
    result = cli.invoke(args=["settings", "show", "--json"])
    assert result.exit_code == 0
    assert result.output == client.get("/api/v1/settings", headers=ADMIN).text


def test_set_changes_several_at_once_and_says_what(cli: FlaskCliRunner, sql: Callable[..., list[Any]]) -> None:
    result = cli.invoke(args=["settings", "set", "is_maintain=true", "maintenance_message=Back at 10"])
    assert result.exit_code == 0
    assert result.output == "revision 2: is_maintain: false -> true, maintenance_message: null -> Back at 10\n"
    [row] = sql("SELECT revision, is_maintain, maintenance_message, updated_by FROM system_settings")
    assert row == {
        "revision": 2,
        "is_maintain": True,
        "maintenance_message": "Back at 10",
        "updated_by": getpass.getuser(),
    }


def test_set_says_when_there_is_nothing_to_change(cli: FlaskCliRunner, sql: Callable[..., list[Any]]) -> None:
    result = cli.invoke(args=["settings", "set", "is_maintain=false"])
    assert (result.exit_code, result.output) == (0, "revision 1: nothing to change\n")
    assert sql("SELECT revision FROM system_settings") == [{"revision": 1}]


@pytest.mark.parametrize("text", ["true", "5", '"quoted"', "a=b", "", " "])
def test_set_takes_text_as_it_is(cli: FlaskCliRunner, sql: Callable[..., list[Any]], text: str) -> None:
    assert cli.invoke(args=["settings", "set", f"maintenance_message={text}"]).exit_code == 0
    assert sql("SELECT maintenance_message FROM system_settings") == [{"maintenance_message": text}]


def test_set_takes_null(cli: FlaskCliRunner, sql: Callable[..., list[Any]]) -> None:
    cli.invoke(args=["settings", "set", "maintenance_message=x"])
    assert cli.invoke(args=["settings", "set", "maintenance_message=null"]).exit_code == 0
    assert sql("SELECT maintenance_message FROM system_settings") == [{"maintenance_message": None}]


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("is_maintain=1", "is_maintain: Not a valid boolean."),
        ("is_maintain=yes", "is_maintain: Not a valid boolean."),
        ("is_maintain=", "is_maintain: Not a valid boolean."),
        ("maintenance_mode=off", "maintenance_mode: Must be one of: full, read_only."),
        ("maintenance_message=" + "x" * 501, "maintenance_message: Longer than maximum length 500."),
        ("revision=9", "revision: Read-only field."),
        ("nonsense=1", "nonsense: Unknown field."),
        ("=1", "=1: Expected NAME=VALUE."),
        ("maintenance_message=b", "maintenance_message: Given twice; give one value."),
        ("is_maintain", "is_maintain: Expected NAME=VALUE."),
    ],
)
def test_set_refuses_a_bad_value_in_one_line(
    cli: FlaskCliRunner, sql: Callable[..., list[Any]], assignment: str, complaint: str
) -> None:
    result = cli.invoke(args=["settings", "set", "maintenance_message=kept?", assignment])
    if assignment.startswith("maintenance_message=x"):
        result = cli.invoke(args=["settings", "set", assignment])
    assert (result.exit_code, result.output) == (2, f"Error: {complaint}\n")
    assert sql("SELECT revision FROM system_settings") == [{"revision": 1}]


def test_set_reaches_a_serving_worker(cli: FlaskCliRunner, client: FlaskClient, live: Live) -> None:
    cli.invoke(args=["settings", "set", "is_maintain=true"])
    live.refresh()
    assert client.get("/api/v1/settings").get_json()["is_maintain"] is True


def test_a_column_that_the_database_lacks_is_told_as_a_missing_upgrade(
    cli: FlaskCliRunner, sql: Callable[..., Any]
) -> None:
    sql("ALTER TABLE system_settings RENAME COLUMN maintenance_since TO of_another_release")
    result = cli.invoke(args=["settings", "show"])
    said = "Error: The database lacks the settings of this release: run `flask db upgrade`.\n"
    assert (result.exit_code, result.output) == (2, said)


def said(cli: FlaskCliRunner, *words: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(cli.invoke(args=["settings", *words, "--json"]).stdout)
    return body


def test_changes_in_json_are_the_settings_and_what_was_done(cli: FlaskCliRunner) -> None:
    done = said(cli, "set", "is_maintain=true", "maintenance_message=a")
    assert done == {**said(cli, "show"), "set": {"changed": ["is_maintain", "maintenance_message"]}}
    assert said(cli, "set", "is_maintain=true")["set"] == {"changed": []}


@pytest.mark.parametrize(("command", "name"), [("restore", "restored"), ("undo", "undone")])
def test_restore_and_undo_in_json_are_what_the_api_answers(
    cli: FlaskCliRunner, client: FlaskClient, command: str, name: str
) -> None:
    said(cli, "set", "maintenance_message=a")
    done = said(cli, command, "2")
    path, headers = f"/api/v1/settings/{command}", {**ADMIN, "If-Match": "*"}
    assert done == client.post(path, json={"revision": 2}, headers=headers).get_json()
    assert done[name] == {"revision": 2, "changed": [], "gone": []}


def test_times_are_local_for_people(cli: FlaskCliRunner) -> None:
    said(cli, "set", "is_maintain=true")
    [line] = [each for each in cli.invoke(args=["settings", "show"]).output.splitlines() if "since" in each]
    since = datetime.fromisoformat(said(cli, "show")["maintenance_since"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert re.fullmatch(rf"maintenance_since +{since:%Y-%m-%d %H:%M}(:\d\d)? {since:%Z} \((now|\d+ s ago)\)", line)
