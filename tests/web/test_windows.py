"""`PUT /api/v1/maintenance/windows/{id}`: one window, however often it is sent, on both databases."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import ADMIN
from tests.problems import assert_problem

from .test_maintenance import STATE, WINDOWS, in_hours, moment

Sql = Callable[..., list[Any]]
ID = "6f1c1f8e-3f0a-4d9c-8b77-0d6a3f4c2b10"
URL = f"{WINDOWS}/{ID}"
LATER = {"starts_at": "2031-12-02T02:00:00Z", "ends_at": "2031-12-02T04:00:00Z"}
NONSENSE = '"00000000"'


def put(client: FlaskClient, url: str = URL, headers: Any = None, **body: Any) -> Any:
    return client.put(url, json=body, headers={**ADMIN, **(headers or {})})


def entries(client: FlaskClient) -> list[Any]:
    found: list[Any] = client.get(f"/api/v1/history?kind=window&key={ID}", headers=ADMIN).get_json()["changes"]
    return found


def test_a_window_is_created_with_its_id_and_then_replaced(client: FlaskClient) -> None:
    made = put(client, **LATER, message="one")
    assert (made.status_code, made.location) == (201, URL)
    assert made.json["id"] == ID
    changed = put(client, URL, {"X-Change-Reason": "longer"}, **LATER, mode="read_only")
    assert (changed.status_code, "Location" in changed.headers) == (200, False)
    shown = client.get(URL)
    assert changed.json == shown.json == {**made.json, "mode": "read_only", "message": None}
    assert changed.headers["ETag"] == shown.headers["ETag"] != made.headers["ETag"]
    latest, first = entries(client)
    told = [latest[name] for name in ("action", "changed_by", "source", "reason")]
    assert told == ["update", "admin", "api", "longer"]
    assert latest["changes"] == {
        "mode": {"from": "full", "to": "read_only"},
        "message": {"from": "one", "to": None},
    }
    assert first["action"] == "insert"


def test_the_same_put_twice_is_one_window_and_the_same_post_twice_is_two(client: FlaskClient, sql: Sql) -> None:
    assert [put(client, **LATER).status_code for _ in range(2)] == [201, 200]
    assert len(entries(client)) == 1
    version = sql("SELECT version FROM live_state")
    assert put(client, **LATER).status_code == 200
    assert sql("SELECT version FROM live_state") == version
    assert len(client.get(WINDOWS).get_json()["windows"]) == 1
    ids = {client.post(WINDOWS, json=LATER, headers=ADMIN).get_json()["id"] for _ in range(2)}
    assert len(ids) == 2
    assert len(client.get(WINDOWS).get_json()["windows"]) == 3


@pytest.mark.parametrize(
    "spelled",
    [
        {"starts_at": "2031-12-02T03:00:00+01:00", "ends_at": "2031-12-02T05:00+01:00"},
        {"starts_at": "2031-12-02T02:00", "ends_at": "2031-12-02T04:00", "timezone": "UTC"},
        {**LATER, "mode": "full", "message": None, "rrule": None},
    ],
)
def test_another_spelling_of_the_same_window_changes_nothing(client: FlaskClient, spelled: dict[str, Any]) -> None:
    made = put(client, **LATER)
    again = put(client, **spelled)
    assert (again.status_code, again.json) == (200, made.json)
    assert len(entries(client)) == 1


def test_a_rule_with_a_count_is_the_same_when_it_is_sent_again(client: FlaskClient) -> None:
    assert [put(client, **LATER, rrule="freq=daily;count=3").status_code for _ in range(2)] == [201, 200]
    assert len(entries(client)) == 1
    shown = client.get(URL).get_json()
    del shown["id"]
    assert put(client, **shown).status_code == 200
    assert len(entries(client)) == 1


def test_an_identical_one_is_200_also_when_it_is_over_or_the_etag_is_an_old_one(client: FlaskClient, sql: Sql) -> None:
    over = {"starts_at": "2021-01-01T00:00:00Z", "ends_at": "2021-01-01T01:00:00Z"}
    assert_problem(put(client, **over), 422, "invalid")
    values = {name: moment(value).isoformat(sep=" ") for name, value in over.items()}
    identifier = uuid.UUID(ID)
    sql(
        "INSERT INTO maintenance_windows (id, starts_at, ends_at) VALUES (:id, :starts_at, :ends_at)",
        id=identifier.hex
        if client.application.config["SQLALCHEMY_DATABASE_URI"].get_backend_name() == "sqlite"
        else ID,
        **values,
    )
    before = entries(client)
    assert put(client, **over).status_code == 200
    assert put(client, URL, {"If-Match": NONSENSE}, **over).status_code == 200
    assert entries(client) == before
    refused = put(client, **over, message="new")
    assert list(assert_problem(refused, 422, "invalid")["errors"]) == ["ends_at"]
    assert put(client, **LATER).status_code == 200  # back into the future


def test_if_match_replaces_only_the_window_that_was_read(client: FlaskClient) -> None:
    read = put(client, **LATER).headers["ETag"]
    changed = put(client, URL, {"If-Match": read}, **LATER, message="mine")
    assert changed.status_code == 200
    stale = put(client, URL, {"If-Match": read}, **LATER, message="yours")
    assert_problem(stale, 412, "revision_conflict")
    assert stale.headers["ETag"] == changed.headers["ETag"] == client.get(URL).headers["ETag"]
    assert client.get(URL).get_json()["message"] == "mine"
    weak = put(client, URL, {"If-Match": f"W/{changed.headers['ETag']}"}, **LATER, message="weak")
    assert_problem(weak, 412, "revision_conflict")
    listed = f"{NONSENSE}, {changed.headers['ETag']}"
    assert put(client, URL, {"If-Match": listed}, **LATER, message="listed").status_code == 200
    assert put(client, URL, {"If-Match": "*"}, **LATER, message="whatever").status_code == 200


@pytest.mark.parametrize("tag", ["*", NONSENSE])
def test_if_match_creates_nothing(client: FlaskClient, tag: str) -> None:
    refused = put(client, URL, {"If-Match": tag}, **LATER)
    assert_problem(refused, 412, "revision_conflict")
    assert "ETag" not in refused.headers
    assert client.get(WINDOWS).get_json() == {"windows": []}


def test_if_none_match_creates_and_replaces_nothing(client: FlaskClient) -> None:
    asked = {"If-None-Match": "*"}
    made = put(client, URL, asked, **LATER)
    assert made.status_code == 201
    for body in (LATER, {**LATER, "message": "another"}):
        refused = put(client, URL, asked, **body)
        assert_problem(refused, 412, "revision_conflict")
        assert refused.headers["ETag"] == made.headers["ETag"]
    assert client.get(URL).get_json() == made.json
    assert put(client, URL, {"If-None-Match": made.headers["ETag"]}, **LATER, message="x").status_code == 412
    assert put(client, URL, {"If-None-Match": NONSENSE}, **LATER, message="y").status_code == 200


def test_what_makes_no_sense_is_told_before_the_precondition(client: FlaskClient) -> None:
    put(client, **LATER)
    refused = put(client, URL, {"If-Match": NONSENSE}, **{**LATER, "ends_at": LATER["starts_at"]})
    assert_problem(refused, 422, "invalid")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["ends_at", "starts_at"]),
        ({**LATER, "id": ID}, ["id"]),
        ({**LATER, "ended_at": None}, ["ended_at"]),
        ({**LATER, "ends_at": "2031-12-02T02:00:00Z"}, ["ends_at"]),
        ({**LATER, "rrule": "FREQ=HOURLY"}, ["rrule"]),
        ({**LATER, "timezone": "Mars/Olympus"}, ["timezone"]),
    ],
)
def test_a_window_that_makes_no_sense_changes_nothing(
    client: FlaskClient, body: dict[str, Any], fields: list[str]
) -> None:
    made = put(client, **LATER)
    refused = put(client, **body)
    assert sorted(assert_problem(refused, 422, "invalid")["errors"]) == fields
    assert client.get(URL).get_json() == made.json


@pytest.mark.parametrize("path", ["nonsense", ID[:8], ID + "0", f"{{{ID}}}"])
def test_what_is_no_uuid_is_not_found(client: FlaskClient, path: str) -> None:
    assert_problem(put(client, f"{WINDOWS}/{path}", **LATER), 404, "not_found")


def test_a_window_into_the_past_while_it_is_open_is_refused_and_stays_open(client: FlaskClient) -> None:
    opened = {"starts_at": in_hours(-2), "ends_at": in_hours(1)}
    assert put(client, **opened).status_code == 201
    assert client.get("/gate").status_code == 503
    refused = put(client, **{**opened, "ends_at": in_hours(-1)})
    body = assert_problem(refused, 422, "invalid")
    assert body["errors"] == {"ends_at": ["The window would be over already; delete it to end it."]}
    assert client.get("/gate").status_code == 503
    assert put(client, **LATER).status_code == 200  # into the future, which ends it
    assert client.get("/gate").status_code == 200


def test_the_state_follows_the_end_mode_and_message_of_an_open_window(client: FlaskClient) -> None:
    opened = {"starts_at": in_hours(-1), "ends_at": in_hours(1)}
    put(client, **opened)
    changed = put(client, **{**opened, "ends_at": in_hours(3)}, mode="read_only", message="disks").json
    state = client.get(STATE).get_json()
    assert (state["mode"], state["message"], state["until"]) == ("read_only", "disks", changed["ends_at"])


def test_a_change_to_the_series_leaves_the_time_ended_that_somebody_ended(client: FlaskClient) -> None:
    start = moment(in_hours(-1)).replace(microsecond=0)
    body = {"starts_at": start.isoformat(), "ends_at": in_hours(1), "rrule": "FREQ=DAILY"}
    put(client, **body)
    assert client.put(STATE, json={"active": False}, headers=ADMIN).get_json()["active"] is False
    assert put(client, **body, message="from tomorrow").status_code == 200
    assert client.get("/gate").status_code == 200
    once = {name: value for name, value in body.items() if name != "rrule"}
    assert put(client, **once).status_code == 200  # named anew, as one time
    assert client.get("/gate").status_code == 503


def test_a_window_opened_with_until_stays_the_switchs_while_its_start_stays(client: FlaskClient) -> None:
    client.put(STATE, json={"active": True, "until": in_hours(1)}, headers=ADMIN)
    [opened] = client.get(WINDOWS).get_json()["windows"]
    url = f"{WINDOWS}/{opened.pop('id')}"
    assert put(client, url, **{**opened, "message": "hello"}).status_code == 200
    until = in_hours(2)
    assert client.put(STATE, json={"active": True, "until": until}, headers=ADMIN).status_code == 200
    [moved] = client.get(WINDOWS).get_json()["windows"]
    assert moment(moved["ends_at"]) == moment(until)
    assert put(client, url, **LATER).status_code == 200  # a planned one from now on
    client.put(STATE, json={"active": True, "until": until}, headers=ADMIN)
    assert len(client.get(WINDOWS).get_json()["windows"]) == 2


def test_the_limit_holds_for_new_windows_and_not_for_changed_ones(client: FlaskClient) -> None:
    put(client, **LATER)
    for _ in range(99):
        assert client.post(WINDOWS, json=LATER, headers=ADMIN).status_code == 201
    assert_problem(put(client, f"{WINDOWS}/{uuid.uuid4()}", **LATER), 422, "invalid")
    assert put(client, **LATER, message="changed").status_code == 200


def test_the_same_put_at_once_is_one_window(app: Flask) -> None:
    statuses: list[int] = []
    ready = threading.Barrier(4)

    def send() -> None:
        client = app.test_client()
        ready.wait()
        statuses.append(put(client, **LATER).status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 200, 201]
    assert len(entries(app.test_client())) == 1
