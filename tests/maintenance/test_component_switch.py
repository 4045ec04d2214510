"""A component's switch and windows: moved by API alone, recorded, and nobody else's; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be.access import service as access
from dop_be.database import Author

from ..conftest import ADMIN

Sql = Callable[..., list[dict[str, Any]]]
PLATFORM, WINDOWS = "/api/v1/maintenance", "/api/v1/maintenance/windows"
BILLING, SEARCH = (f"/api/v1/components/{name}/maintenance" for name in ("billing", "search"))


@pytest.fixture(autouse=True)
def two(client: FlaskClient) -> None:
    for name in ("billing", "search"):
        assert client.put(f"/api/v1/components/{name}", json={}, headers=ADMIN).status_code == 201


def switch(client: FlaskClient, path: str, headers: dict[str, str] = ADMIN, **body: Any) -> Any:
    return client.put(path, json=body, headers=headers)


def active(client: FlaskClient) -> dict[str, bool]:
    places = {"platform": PLATFORM, "billing": BILLING, "search": SEARCH}
    return {name: client.get(path).get_json()["active"] for name, path in places.items()}


def later(**length: float) -> str:
    return (datetime.now(UTC) + timedelta(**length)).isoformat()


def plan(client: FlaskClient, component: Any, headers: dict[str, str] = ADMIN, **more: Any) -> Any:
    body = {"component": component, "starts_at": later(hours=1), "ends_at": later(hours=2), **more}
    return client.post(WINDOWS, json=body, headers=headers)


def test_the_switch_of_a_component_moves_nothing_else(client: FlaskClient) -> None:
    told = switch(client, BILLING, active=True, mode="read_only", message="paying").get_json()
    assert (told["component"], told["active"], told["mode"], told["message"]) == (
        "billing",
        True,
        "read_only",
        "paying",
    )
    assert told == client.get(BILLING).get_json()
    assert active(client) == {"platform": False, "billing": True, "search": False}
    assert client.get(PLATFORM).get_json()["components"] == ["billing"]
    assert switch(client, BILLING, active=False).get_json()["active"] is False
    assert active(client) == {"platform": False, "billing": False, "search": False}


def test_the_flip_is_dated_and_recorded(client: FlaskClient) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    headers = {**ADMIN, "X-Change-Reason": "because"}
    told = switch(client, BILLING, headers, active=True).get_json()
    assert before < datetime.fromisoformat(told["since"]) < datetime.now(UTC) + timedelta(seconds=1)
    entry = client.get("/api/v1/history?kind=component&key=billing", headers=ADMIN).get_json()["changes"][0]
    assert (entry["action"], entry["reason"]) == ("update", "because")
    assert entry["changes"] == {"is_maintain": {"from": False, "to": True}}


def test_what_already_is_changes_nothing(client: FlaskClient) -> None:
    first = switch(client, BILLING, active=True, message="x")
    assert switch(client, BILLING, active=True, message="x").get_json() == first.get_json()
    listed = client.get("/api/v1/history?kind=component&key=billing", headers=ADMIN).get_json()["changes"]
    assert [each["action"] for each in listed] == ["update", "insert"]


def test_the_platforms_off_leaves_components_closed(client: FlaskClient) -> None:
    switch(client, BILLING, active=True)
    switch(client, PLATFORM, active=True)
    told = switch(client, PLATFORM, active=False).get_json()
    assert (told["active"], told["components"]) == (False, ["billing"])
    assert active(client) == {"platform": False, "billing": True, "search": False}


def test_a_components_off_says_where_the_platform_is_closed(client: FlaskClient) -> None:
    switch(client, BILLING, active=True)
    switch(client, PLATFORM, active=True)
    told = switch(client, BILLING, active=False).get_json()
    assert (told["active"], told["platform"]) == (True, True)
    switch(client, PLATFORM, active=False)
    assert active(client)["billing"] is False


def test_until_opens_a_window_of_the_component(client: FlaskClient) -> None:
    told = switch(client, BILLING, active=True, until=later(minutes=5)).get_json()
    assert (told["active"], told["source"]) == (True, "window")
    [window] = client.get(WINDOWS).get_json()["windows"]
    assert window["component"] == "billing"
    switch(client, SEARCH, active=True, until=later(minutes=5))
    assert len(client.get(WINDOWS).get_json()["windows"]) == 2  # the other one was not moved
    told = switch(client, BILLING, active=False).get_json()
    assert [each["component"] for each in told["ended"]] == ["billing"]
    assert active(client) == {"platform": False, "billing": False, "search": True}


def test_off_ends_only_the_windows_of_its_own(client: FlaskClient, sql: Sql) -> None:
    for component in ("NULL", "'billing'", "'search'"):
        begins, ends = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
        columns = "starts_at, ends_at, component"
        sql(f"INSERT INTO maintenance_windows ({columns}) VALUES ('{begins:%F %T}', '{ends:%F %T}', {component})")
    assert {each["component"] for each in switch(client, SEARCH, active=False).get_json()["ended"]} == {"search"}
    assert [each["component"] for each in switch(client, PLATFORM, active=False).get_json()["ended"]] == [None]
    assert active(client) == {"platform": False, "billing": True, "search": False}


def test_if_match_is_about_the_component(client: FlaskClient) -> None:
    tag = client.get(BILLING).headers["ETag"]
    switch(client, SEARCH, active=True)
    assert switch(client, BILLING, {**ADMIN, "If-Match": tag}, active=True).status_code == 200
    assert switch(client, BILLING, {**ADMIN, "If-Match": tag}, active=False).status_code == 412
    tag = client.get(PLATFORM).headers["ETag"]
    switch(client, SEARCH, active=False)
    assert switch(client, PLATFORM, {**ADMIN, "If-Match": tag}, active=True).status_code == 412  # `components` differ


def test_a_window_of_a_component(client: FlaskClient) -> None:
    made = plan(client, "billing", rrule="FREQ=DAILY")
    assert (made.status_code, made.get_json()["component"]) == (201, "billing")
    assert client.get(BILLING).get_json()["next"]["component"] == "billing"
    assert client.get(PLATFORM).get_json()["next"] is None
    moved = {**made.get_json(), "component": "search"}
    del moved["id"]
    assert client.put(made.headers["Location"], json=moved, headers=ADMIN).get_json()["component"] == "search"
    assert client.get(BILLING).get_json()["next"] is None


@pytest.mark.parametrize(
    "body", [{"component": "nobody"}, {"component": "Billing"}, {"component": 7}, {"component": ""}]
)
def test_a_window_of_no_component_is_refused(client: FlaskClient, body: dict[str, Any]) -> None:
    for answer in (
        plan(client, **body),
        client.put(
            f"{WINDOWS}/3f2a6f4e-6a3b-4d0c-9a57-0f0e3c1d2b4a",
            json={"starts_at": later(hours=1), "ends_at": later(hours=2), **body},
            headers=ADMIN,
        ),
    ):
        assert answer.status_code == 422
        assert list(answer.get_json()["errors"]) == ["component"]


def test_the_switch_of_nobody_is_not_found(client: FlaskClient) -> None:
    answer = switch(client, "/api/v1/components/nobody/maintenance", active=True)
    assert (answer.status_code, answer.get_json()["detail"]) == (404, "There is no component 'nobody'.")


class TestLimits:
    """What a token limited to one component may not do."""

    @pytest.fixture
    def team(self, app: Flask, sql: Sql) -> dict[str, str]:
        with app.app_context():
            text, _ = access.create("team", ["maintenance:write"], Author("test", "cli"))
        sql("UPDATE api_tokens SET components = 'billing'")
        app.extensions["live"].refresh()
        return {"Authorization": f"Bearer {text}"}

    def test_it_may_do_what_is_its_own(self, client: FlaskClient, team: dict[str, str]) -> None:
        assert switch(client, BILLING, team, active=True).status_code == 200
        planned = plan(client, "billing", team)
        assert planned.status_code == 201
        assert client.delete(planned.headers["Location"], headers=team).status_code == 204

    @pytest.mark.parametrize("path", [PLATFORM, SEARCH])
    def test_it_switches_nothing_else(self, client: FlaskClient, team: dict[str, str], path: str) -> None:
        answer = switch(client, path, team, active=True)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")
        about = "the platform" if path == PLATFORM else "search"
        assert answer.get_json()["detail"] == f"The token is limited to billing, and this is about {about}."
        assert active(client) == {"platform": False, "billing": False, "search": False}

    @pytest.mark.parametrize("component", [None, "search"])
    def test_it_plans_nothing_else(self, client: FlaskClient, team: dict[str, str], component: str | None) -> None:
        assert plan(client, component, team).status_code == 403
        assert client.get(WINDOWS).get_json() == {"windows": []}

    @pytest.mark.parametrize("component", [None, "search"])
    def test_it_neither_moves_nor_cancels_what_is_anothers(
        self, client: FlaskClient, team: dict[str, str], component: str | None
    ) -> None:
        location = plan(client, component).headers["Location"]
        body = {"component": "billing", "starts_at": later(hours=1), "ends_at": later(hours=2)}
        assert client.put(location, json=body, headers=team).status_code == 403
        own = plan(client, "billing").headers["Location"]
        assert client.put(own, json={**body, "component": component}, headers=team).status_code == 403
        assert client.delete(location, headers=team).status_code == 403
        assert {each["component"] for each in client.get(WINDOWS).get_json()["windows"]} == {"billing", component}

    def test_one_limited_to_what_is_gone_may_nothing(self, client: FlaskClient, team: dict[str, str]) -> None:
        client.delete("/api/v1/components/billing", headers=ADMIN)
        client.put("/api/v1/components/billing", json={}, headers=ADMIN)
        answer = switch(client, BILLING, team, active=True)
        assert answer.status_code == 403
        assert answer.get_json()["detail"] == "The token is limited to no component, and this is about billing."

    def test_scopes_that_no_limited_token_can_have_count_for_nothing(
        self, app: Flask, client: FlaskClient, team: dict[str, str], sql: Sql
    ) -> None:
        sql("UPDATE api_tokens SET scopes = 'settings:write components:write tokens:write maintenance:write'")
        app.extensions["live"].refresh()
        assert client.delete("/api/v1/components/search", headers=team).status_code == 403
        body = {"maintenance_message": "x"}
        assert client.patch("/api/v1/settings", json=body, headers={**team, "If-Match": "*"}).status_code == 403
        assert client.get("/api/v1/tokens", headers=team).status_code == 403
        assert switch(client, BILLING, team, active=True).status_code == 200
