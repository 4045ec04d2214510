"""`/api/v1/maintenance` and its windows over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be.live import Live
from tests.conftest import ADMIN
from tests.problems import assert_problem

from ..shared import snapshot_of

STATE = "/api/v1/maintenance"
WINDOWS = "/api/v1/maintenance/windows"


def in_hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def post(client: FlaskClient, **body: Any) -> Any:
    return client.post(WINDOWS, json={"starts_at": in_hours(1), "ends_at": in_hours(2), **body}, headers=ADMIN)


def get(client: FlaskClient, path: str, **more: Any) -> Any:
    return client.get(path, **more)


def put(client: FlaskClient, **body: Any) -> Any:
    return client.put(STATE, json=body, headers=ADMIN)


def test_a_planned_window_is_answered_whole_and_can_be_read_again(client: FlaskClient) -> None:
    body = {
        "starts_at": "2031-12-02T02:00",
        "ends_at": "2031-12-02T04:00:00",
        "mode": "read_only",
        "message": "Kernel <b>ö</b> 🛠",
        "timezone": "Europe/Berlin",
        "rrule": "FREQ=WEEKLY;BYDAY=TU",
    }
    made = post(client, **body)
    assert made.status_code == 201
    utc = {"starts_at": "2031-12-02T01:00:00.000000Z", "ends_at": "2031-12-02T03:00:00.000000Z"}
    assert made.json == {"id": made.json["id"], "component": None, **body, **utc}
    assert get(client, made.location).json == made.json
    assert get(client, WINDOWS).json == {"windows": [made.json]}


def test_what_is_left_out_takes_the_contracts_defaults(client: FlaskClient) -> None:
    made = post(client).json
    assert {name: made[name] for name in ("mode", "message", "timezone", "rrule")} == {
        "mode": "full",
        "message": None,
        "timezone": "UTC",
        "rrule": None,
    }


def test_deleting_answers_204_again_where_it_is_gone_already(client: FlaskClient) -> None:
    location = post(client).location
    for _ in range(2):
        assert client.delete(location, headers=ADMIN).status_code == 204
    for gone in (get(client, location), get(client, WINDOWS + "/nonsense")):
        assert_problem(gone, 404, "not_found")


@pytest.mark.parametrize("call", [("POST", WINDOWS), ("DELETE", WINDOWS + "/00000000-0000-4000-8000-000000000000")])
def test_writes_need_a_token(client: FlaskClient, call: tuple[str, str]) -> None:
    answer = client.open(call[1], method=call[0], json={})
    assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"starts_at": "2031-12-01T02:00:00"}, "starts_at"),  # naive without a zone
        ({"starts_at": "2031-12-01"}, "starts_at"),
        ({"starts_at": "2031-13-01T02:00Z"}, "starts_at"),
        ({"starts_at": "0001-01-01T00:00+14:00"}, "starts_at"),
        ({"starts_at": "9999-12-31T23:59-12:00"}, "starts_at"),
        ({"starts_at": 1796000000}, "starts_at"),
        ({"starts_at": None}, "starts_at"),
        ({"ends_at": "2020-01-01T00:00Z"}, "ends_at"),
        ({"starts_at": "2020-01-01T00:00Z", "ends_at": "2020-01-01T01:00Z"}, "ends_at"),
        ({"mode": "closed"}, "mode"),
        ({"message": "x" * 501}, "message"),
        ({"message": "a\0b"}, "message"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"rrule": "FREQ=SECONDLY"}, "rrule"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "rrule"),
        ({"rrule": 7}, "rrule"),
        ({"id": "00000000-0000-4000-8000-000000000000"}, "id"),
        ({"ended_at": None}, "ended_at"),
    ],
)
def test_a_window_that_makes_no_sense_is_422_and_nothing_is_stored(
    client: FlaskClient, change: dict[str, Any], field: str
) -> None:
    answer = post(client, **change)
    assert list(assert_problem(answer, 422, "invalid")["errors"]) == [field]
    assert get(client, WINDOWS).json == {"windows": []}


def test_until_opens_a_window_from_now_instead_of_moving_the_switch(client: FlaskClient) -> None:
    until = in_hours(1)
    state = put(client, active=True, mode="read_only", message="brb", until=until)
    assert state.status_code == 200
    assert (state.json["active"], state.json["mode"], state.json["message"]) == (True, "read_only", "brb")
    assert (state.json["source"], moment(state.json["until"])) == ("window", moment(until))
    assert get(client, STATE).json == state.json
    assert get(client, "/api/v1/settings").json["is_maintain"] is False
    assert len(get(client, WINDOWS).json["windows"]) == 1


def test_a_put_without_until_replaces_the_window_that_one_with_it_opened(client: FlaskClient) -> None:
    put(client, active=True, until=in_hours(1), message="one")
    body = put(client, active=True, mode="read_only").get_json()
    assert (body["source"], body["mode"], body["message"], body["until"]) == ("switch", "read_only", None, None)
    assert "ended" not in body
    assert client.get(f"{STATE}/windows").get_json() == {"windows": []}
    assert put(client, active=False).get_json()["active"] is False


def test_a_put_leaves_a_planned_window_open(client: FlaskClient) -> None:
    planned = {"starts_at": in_hours(-1), "ends_at": in_hours(1)}
    assert client.post(f"{STATE}/windows", json=planned, headers=ADMIN).status_code == 201
    put(client, active=True, mode="read_only")
    assert len(client.get(f"{STATE}/windows").get_json()["windows"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"active": False, "until": "2031-01-01T00:00Z"},
        {"active": True, "until": "2031-01-01T00:00"},
        {"active": True, "until": "2020-01-01T00:00Z"},
        {"active": True, "until": "2199-01-01T00:00Z"},
        {"active": True, "until": "soon"},
    ],
)
def test_an_until_that_makes_no_sense_is_422(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = put(client, **body)
    assert list(assert_problem(answer, 422, "invalid")["errors"]) == ["until"]
    assert get(client, STATE).json["active"] is False


def test_switching_off_ends_the_open_windows_and_says_which(client: FlaskClient) -> None:
    opened = put(client, active=True, until=in_hours(1)).json
    off = put(client, active=False)
    shown = off.json
    [ended] = shown.pop("ended")
    assert moment(ended["ends_at"]) == moment(opened["until"])
    state = get(client, STATE)
    assert (shown, off.headers["ETag"]) == (state.json, state.headers["ETag"])
    assert "ended" not in put(client, active=False).json
    assert get(client, WINDOWS).json == {"windows": []}


def test_the_state_shows_the_next_window_with_its_own_times(client: FlaskClient) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3, hours=-1)
    times = {"starts_at": start.isoformat(), "ends_at": (start + timedelta(minutes=30)).isoformat()}
    made = post(client, **times, rrule="FREQ=DAILY").json
    following = get(client, STATE).json["next"]
    assert moment(following.pop("starts_at")) == start + timedelta(days=3)
    assert moment(following.pop("ends_at")) == start + timedelta(days=3, minutes=30)
    assert following == {name: value for name, value in made.items() if name not in times}


def test_the_etag_changes_when_a_window_opens_and_when_it_closes(client: FlaskClient, live: Live) -> None:
    """No write comes between: the time alone does it."""
    post(client, starts_at=in_hours(1), ends_at=in_hours(2))
    phases = [snapshot_of(live).timeline.at(moment(in_hours(hours)).timestamp()) for hours in (0.5, 1.5, 2.5, 0)]
    assert [phase.maintenance.active for phase in phases] == [False, True, False, False]
    before, during, after, now = [phase.document.etag for phase in phases]
    assert during != before == after  # the ETag tells what is in force, not what comes next
    assert before == now == get(client, STATE).headers["ETag"]
    assert get(client, STATE, headers={"If-None-Match": now}).status_code == 304
    assert get(client, STATE, headers={"If-None-Match": during}).status_code == 200


def test_a_refusal_tells_the_seconds_to_the_windows_end(client: FlaskClient) -> None:
    put(client, active=True, mode="full", until=in_hours(0.5))
    for path in ("/", "/gate"):
        refused = get(client, path)
        assert refused.status_code == 503
        assert 1700 <= int(refused.headers["Retry-After"]) <= 1830  # spread over 30 seconds
        assert moment(refused.json["until"]) == moment(get(client, STATE).json["until"])


def test_a_window_within_a_day_is_announced_on_allowed_answers_and_the_gate(client: FlaskClient) -> None:
    starts_at = post(client, starts_at=in_hours(20), ends_at=in_hours(21)).json["starts_at"]
    for path in ("/", "/livez", "/gate", STATE, "/nowhere"):
        assert get(client, path).headers["X-Maintenance-Starts"] == starts_at


def test_no_window_or_one_further_away_is_not_announced(client: FlaskClient) -> None:
    post(client, starts_at=in_hours(25), ends_at=in_hours(26))
    for path in ("/", "/gate"):
        assert "X-Maintenance-Starts" not in get(client, path).headers


def test_a_refused_answer_announces_nothing(client: FlaskClient) -> None:
    post(client, starts_at=in_hours(2), ends_at=in_hours(3))
    put(client, active=True)
    for path in ("/", "/gate"):
        refused = get(client, path)
        assert (refused.status_code, "X-Maintenance-Starts" in refused.headers) == (503, False)


def test_browsers_of_allowed_origins_may_read_the_announcement(
    make_app: Callable[..., Flask], database_url: str
) -> None:
    app = make_app(database_url, CORS_ORIGINS=("https://app.example.com",))
    assert app.extensions["live"].refresh()
    answer = app.test_client().get(STATE, headers={"Origin": "https://app.example.com"})
    assert "X-Maintenance-Starts" in answer.headers["Access-Control-Expose-Headers"]


def test_a_put_may_ask_that_nobody_has_changed_what_is_in_force(client: FlaskClient) -> None:
    seen = get(client, STATE).headers["ETag"]
    post(client)  # what comes next is not what is in force
    on = client.put(STATE, json={"active": True}, headers={**ADMIN, "If-Match": seen})
    assert on.status_code == 200
    stale = client.put(STATE, json={"active": False}, headers={**ADMIN, "If-Match": seen})
    assert_problem(stale, 412, "revision_conflict")
    assert stale.headers["ETag"] == on.headers["ETag"] == get(client, STATE).headers["ETag"]
    for tag in (on.headers["ETag"], "*"):
        assert client.put(STATE, json={"active": True}, headers={**ADMIN, "If-Match": tag}).status_code == 200
    assert (
        client.put(STATE, json={"active": False}, headers={**ADMIN, "If-Match": stale.headers["ETag"]}).status_code
        == 200
    )
