"""`flask maintenance schedule`, `windows` and `cancel`, on both databases."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from flask.testing import FlaskClient, FlaskCliRunner

from .test_maintenance import UUID, Sql, run


def test_local_times_are_planned_in_a_zone_listed_and_cancelled(cli: FlaskCliRunner) -> None:
    planned = run(cli, "schedule", "2031-12-02T02:00", "2031-12-02T04:00", "--tz", "Europe/Berlin",
                  "--every", "FREQ=WEEKLY;BYDAY=TU", "--message", "weekly")  # fmt: skip
    found = re.fullmatch(
        rf"planned window (({UUID})  2031-12-02 02:00 to 04:00 CET \(in \d+ d\)  full"
        r"  every FREQ=WEEKLY;BYDAY=TU in Europe/Berlin: weekly)",
        planned,
    )
    assert found
    assert re.fullmatch(
        rf"{found[2][:8]}  2031-12-02 02:00 to 04:00 CET  in \d+ d  full"
        r"  every FREQ=WEEKLY;BYDAY=TU in Europe/Berlin  weekly",
        run(cli, "windows"),
    )
    assert run(cli, "cancel", found[2]) == f"cancelled window {found[1]}"
    assert run(cli, "windows") == ""
    assert run(cli, "cancel", found[2]) == f"window {found[2]} is already cancelled"
    unknown = str(uuid.uuid4())
    assert run(cli, "cancel", unknown, code=2) == f"Error: There is no window {unknown}."


def test_an_open_window_is_listed_as_open(cli: FlaskCliRunner) -> None:
    run(cli, "on", "--for", "30m")
    assert run(cli, "windows").endswith("CET  open, ends in 30 min  full")


def test_times_with_an_offset_need_no_zone(cli: FlaskCliRunner) -> None:
    said = run(cli, "schedule", "2031-12-02T02:00:00+01:00", "2031-12-02T04:00:00+01:00")
    assert "  2031-12-02 02:00 to 04:00 CET (in " in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["2031-12-02T02:00", "2031-12-02T04:00"], "START"),
        (["2031-12-02T02:00", "2031-12-02T01:00", "--tz", "Europe/Berlin"], "END"),
        (["2031-12-02T02:00", "2031-12-02T03:00", "--tz", "Berlin"], "--tz"),
        (["tomorrow", "2031-12-02T03:00Z"], "START"),
        (["2031-12-02T02:00Z", "2031-12-02T03:00Z", "--every", "yearly"], "--every"),
    ],
)
def test_a_window_that_makes_no_sense_ends_with_one_line_and_2(
    cli: FlaskCliRunner, words: list[str], named: str
) -> None:
    said = run(cli, "schedule", *words, code=2)
    assert said.startswith(f"Error: {named}: ")
    assert "\n" not in said
    assert run(cli, "windows") == ""


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


def test_windows_stand_in_columns(cli: FlaskCliRunner) -> None:
    run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--mode", "read_only", "--message", "first")
    run(cli, "schedule", "2031-12-03T22:00Z", "2031-12-04T05:00Z", "--every", "daily", "--message", "second")
    one, two = run(cli, "windows").splitlines()
    assert one.index("read_only") == two.index("full")
    assert one.index("first") == two.index("second")


def test_windows_in_json_are_the_apis(cli: FlaskCliRunner, client: FlaskClient) -> None:
    start, end = "2031-12-02T02:00:00+01:00", "2031-12-02T04:00:00+01:00"
    made = json.loads(run(cli, "schedule", start, end, "--every", "weekly", "--message", "disks", "--json"))
    url = "/api/v1/maintenance/windows"
    assert made == client.get(f"{url}/{made['id']}").get_json()
    assert (made["starts_at"], made["rrule"]) == ("2031-12-02T01:00:00.000000Z", "FREQ=WEEKLY")
    assert json.loads(run(cli, "windows", "--json")) == client.get(url).get_json() == {"windows": [made]}
    assert json.loads(run(cli, "cancel", made["id"], "--json")) == {**made, "changed": True}
    assert json.loads(run(cli, "cancel", made["id"], "--json")) == {"id": made["id"], "changed": False}
    assert json.loads(run(cli, "windows", "--json")) == {"windows": []}


def insert(sql: Sql, identifier: str) -> None:
    """Plan a window of this id as SQL may: SQLite keeps ids as 32 digits."""
    sql(
        "INSERT INTO maintenance_windows (id, starts_at, ends_at) VALUES"
        " (:id, '2031-12-02 02:00:00+00:00', '2031-12-02 03:00:00+00:00')",
        id=uuid.UUID(identifier).hex,
    )


ONE, LIKE_IT, OTHER = (
    "3f2a0000-0000-4000-8000-000000000001",
    "3f2a0000-0000-4000-8000-000000000002",
    "3f2b0000-0000-4000-8000-000000000003",
)


def test_a_window_is_cancelled_by_the_beginning_of_its_id(cli: FlaskCliRunner, sql: Sql) -> None:
    for each in (ONE, OTHER):
        insert(sql, each)
    assert run(cli, "cancel", "3f2a").startswith(f"cancelled window {ONE}")
    assert run(cli, "cancel", "3f2a") == f"window {ONE} is already cancelled"
    assert run(cli, "cancel", "3F2B0000-00").startswith(f"cancelled window {OTHER}")
    assert run(cli, "cancel", "3f2b0000-0000-4000-8000") == f"window {OTHER} is already cancelled"


def test_a_beginning_of_several_ids_cancels_none(cli: FlaskCliRunner, sql: Sql) -> None:
    insert(sql, ONE)
    insert(sql, LIKE_IT)
    said = run(cli, "cancel", "3f2a", code=2)
    assert said == f"Error: ID: several windows begin with 3f2a: {ONE}, {LIKE_IT}; type more characters."
    assert len(sql("SELECT id FROM maintenance_windows")) == 2
    run(cli, "cancel", ONE)
    assert run(cli, "cancel", "3f2a").startswith(f"cancelled window {LIKE_IT}")  # of two known one is planned
    assert run(cli, "cancel", "3f2a", code=2).startswith("Error: ID: several windows begin with 3f2a: ")


@pytest.mark.parametrize("text", ["", "3f2", "3f2 a", "3f2%", "____", "%%%%", "xyzw", "3f2a\n", "-" * 37, "٣٣٣٣"])
def test_what_begins_no_id_is_told(cli: FlaskCliRunner, sql: Sql, text: str) -> None:
    insert(sql, ONE)
    said = run(cli, "cancel", "--", text, code=0 if text.strip() == "3f2a" else 2)
    assert said.startswith(("Error: ID: ", "cancelled window"))
    assert "\n" not in said
    assert len(sql("SELECT id FROM maintenance_windows")) == (0 if text.strip() == "3f2a" else 1)


@pytest.mark.parametrize("text", ["abcd", "----", "3f2b"])
def test_an_id_that_nothing_begins_with_is_unknown(cli: FlaskCliRunner, sql: Sql, text: str) -> None:
    insert(sql, ONE)
    assert run(cli, "cancel", "--", text, code=2) == f"Error: There is no window {text}."


def test_without_a_terminal_nobody_is_asked(cli: FlaskCliRunner) -> None:
    planned = run(cli, "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", "daily")
    [identifier] = re.findall(UUID, planned)
    assert run(cli, "cancel", identifier[:8]).startswith(f"cancelled window {identifier}")
