"""What every endpoint of the API has in common, tried on all that are routed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import UUIDConverter
from werkzeug.test import TestResponse

from dop_be.live import Live
from dop_be.maintenance.policy import SAFE_METHODS
from tests.conftest import ADMIN
from tests.maintenance.states import put_in_force
from tests.problems import assert_problem

ORIGIN = "https://app.example"
WINDOW = "6f1c1f8e-3f0a-4d9c-8b77-0d6a3f4c2b10"
WINDOWS = "/api/v1/maintenance/windows"
VARY_OUTSIDE = ["/", "/livez", "/readyz", "/gate", "/gate/nowhere", "/gate/bypass/none", "/nowhere", "/static/none"]
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def endpoints(app: Flask) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is routed below /api/v1; a window's id is WINDOW, any other name `ci`."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1/"):
            parts = {
                name: WINDOW if isinstance(rule._converters[name], UUIDConverter) else "ci" for name in rule.arguments
            }
            for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
                yield method, adapter.build(rule.endpoint, parts, method=method)


def in_hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


@pytest.fixture
def filled(client: FlaskClient) -> FlaskClient:
    """An application in which every path of `endpoints` is there."""
    window = {"starts_at": in_hours(2), "ends_at": in_hours(3), "message": "disks"}
    assert client.put(f"{WINDOWS}/{WINDOW}", json=window, headers=ADMIN).status_code == 201
    assert client.put("/api/v1/components/ci", json={}, headers=ADMIN).status_code == 201
    token = {"name": "ci", "scopes": ["settings:read"]}
    assert client.post("/api/v1/tokens", json=token, headers=ADMIN).status_code == 201
    return client


def test_the_paths_that_are_tried_are_all_there(app: Flask, filled: FlaskClient) -> None:
    found = list(endpoints(app))
    assert {("GET", f"{WINDOWS}/{WINDOW}"), ("PUT", f"{WINDOWS}/{WINDOW}"), ("DELETE", "/api/v1/tokens/ci")} <= set(
        found
    )
    assert len(found) >= 14
    for method, path in found:
        if method == "GET":
            assert filled.get(path, headers=ADMIN).status_code == 200, path


def test_a_slash_at_the_end_changes_nothing(app: Flask, filled: FlaskClient) -> None:
    for method, path in endpoints(app):
        if method in SAFE_METHODS:
            without, with_slash = (filled.open(one, method=method, headers=ADMIN) for one in (path, f"{path}/"))
            assert (with_slash.status_code, with_slash.data) == (without.status_code, without.data), path
        else:  # that it was routed, and read: no body
            with_slash = filled.open(f"{path}/", method=method, headers={**ADMIN, "X-Change-Reason": "%"})
            assert with_slash.status_code == (422 if method == "DELETE" else 415), path


@pytest.mark.parametrize("mode", ["open", "full"])
def test_every_answer_carries_the_requests_id(app: Flask, filled: FlaskClient, live: Live, mode: str) -> None:
    if mode == "full":
        put_in_force(live, mode)
    asked = [*endpoints(app), ("HEAD", "/api/v1/settings"), ("OPTIONS", WINDOWS), ("GET", "/api/v1/nowhere")]
    asked += [("TRACE", "/api/v1/settings"), ("GET", f"{WINDOWS}/nonsense")]
    for headers in ({}, ADMIN, {"Authorization": "Bearer wrong"}, {**ADMIN, "X-Change-Reason": "%"}):
        for number, (method, path) in enumerate(asked):
            sent = {**headers, "X-Request-ID": f"req-{number}"}
            told = filled.open(path, method=method, headers=sent).headers.getlist("X-Request-ID")
            assert told == [f"req-{number}"], (method, path)
    tag = filled.get("/api/v1/settings").headers["ETag"]
    kept = filled.get("/api/v1/settings", headers={"If-None-Match": tag})
    assert (kept.status_code, len(kept.headers["X-Request-ID"])) == (304, 32)


def test_a_fault_of_the_server_carries_the_requests_id(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    app.testing = False

    def fail() -> None:
        raise RuntimeError

    monkeypatch.setitem(app.view_functions, "maintenance.show", fail)
    answer = app.test_client().get("/api/v1/maintenance", headers={"X-Request-ID": "req-1"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, "req-1")


def varies(response: TestResponse) -> list[str]:
    [told] = response.headers.getlist("Vary")
    return told.split(", ")


@pytest.mark.parametrize("mode", ["open", "full"])
@pytest.mark.parametrize("origin", [None, ORIGIN, "https://evil.example"])
def test_with_origins_every_answer_says_that_it_varies(
    make_app: Callable[..., Flask], sqlite_url: str, mode: str, origin: str | None
) -> None:
    app = make_app(sqlite_url, CORS_ORIGINS=(ORIGIN,))
    assert app.extensions["live"].refresh()
    if mode == "full":
        put_in_force(app.extensions["live"], mode)
    client, sent = app.test_client(), {"Origin": origin} if origin else {}
    for method, path in [*endpoints(app), ("OPTIONS", WINDOWS), *(("GET", path) for path in VARY_OUTSIDE)]:
        answer = client.open(path, method=method, headers=sent)
        assert varies(answer).count("Origin") == 1, (method, path)
        if origin and not path.startswith("/gate"):  # where proxies ask, no page reads along
            assert (answer.headers.get("Access-Control-Allow-Origin") == origin) == (origin == ORIGIN), path
    assert set(varies(client.get("/api/v1/settings"))) == {"Authorization", "Origin"}


def test_without_origins_nothing_varies_by_them(client: FlaskClient) -> None:
    for path in (*VARY_OUTSIDE, "/api/v1/settings"):
        assert "Origin" not in ", ".join(client.get(path).headers.getlist("Vary"))


def test_a_page_of_an_allowed_origin_may_read_where_its_window_is(
    make_app: Callable[..., Flask], sqlite_url: str
) -> None:
    app = make_app(sqlite_url, CORS_ORIGINS=(ORIGIN,))
    assert app.extensions["live"].refresh()
    body = {"starts_at": in_hours(1), "ends_at": in_hours(2)}
    made = app.test_client().post(WINDOWS, json=body, headers={**ADMIN, "Origin": ORIGIN})
    assert (made.status_code, made.location.startswith(f"{WINDOWS}/")) == (201, True)
    assert "Location" in made.headers["Access-Control-Expose-Headers"].split(", ")


def members(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from members(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner)


def answers(app: Flask, client: FlaskClient) -> Iterator[TestResponse]:
    """An answer of every kind that has a JSON body."""
    yield client.post("/api/v1/tokens", json={"name": "cd", "scopes": ["maintenance:bypass"]}, headers=ADMIN)
    yield client.put("/api/v1/maintenance", json={"active": True, "until": in_hours(1)}, headers=ADMIN)
    yield client.get("/gate")
    yield client.put("/api/v1/maintenance", json={"active": False}, headers=ADMIN)
    revised = {**ADMIN, "If-Match": "*"}
    for change in ({"maintenance_message": "one"}, {"maintenance_message": "two"}):
        yield client.patch("/api/v1/settings", json=change, headers=revised)
    for call in ("restore", "undo"):
        yield client.post(f"/api/v1/settings/{call}", json={"revision": 2}, headers=revised)
    for path in ["/livez", "/readyz", "/nowhere", *(path for method, path in endpoints(app) if method == "GET")]:
        yield client.get(path, headers=ADMIN)


def test_json_is_compact_and_its_members_are_spelled_alike_everywhere(app: Flask, filled: FlaskClient) -> None:
    found = list(answers(app, filled))
    assert len(found) >= 18
    for answer in found:
        body = json.loads(answer.data)
        assert answer.data == json.dumps(body, separators=(",", ":")).encode() + b"\n"
        assert [name for name in members(body) if not NAME.fullmatch(name)] == []


def test_an_unknown_name_in_a_query_is_refused_everywhere(app: Flask, filled: FlaskClient) -> None:
    for method, path in endpoints(app):
        answer = filled.open(f"{path}?dry_run=1", method=method, headers={**ADMIN, "If-Match": "*"}, json={})
        refused = assert_problem(answer, 422, "invalid")
        assert list(refused["errors"]) == ["dry_run"], (method, path)
    assert filled.get(f"{WINDOWS}/{WINDOW}").status_code == 200


def test_a_note_of_the_health_check_tells_an_announced_window(filled: FlaskClient) -> None:
    starts_at = filled.get(f"{WINDOWS}/{WINDOW}").get_json()["starts_at"]
    told = f"a maintenance is announced for {starts_at}"
    ready = filled.get("/readyz")
    assert (ready.status_code, ready.get_json()["notes"].count(told)) == (200, 1)
    filled.delete(f"{WINDOWS}/{WINDOW}", headers=ADMIN)
    assert told not in filled.get("/readyz").get_json()["notes"]


def test_the_status_page_tells_what_is_announced_for_a_day_and_no_more(filled: FlaskClient) -> None:
    assert filled.put(
        f"{WINDOWS}/{WINDOW[:-1]}1",
        json={"starts_at": in_hours(30), "ends_at": in_hours(31), "message": "too far away"},
        headers=ADMIN,
    ).status_code == 201  # fmt: skip
    script = {"starts_at": in_hours(5), "ends_at": in_hours(6), "message": "<script>", "mode": "read_only"}
    filled.post(WINDOWS, json=script, headers=ADMIN)
    near = filled.get(f"{WINDOWS}/{WINDOW}").get_json()
    page = filled.get("/", headers={"Accept": "text/html"}).text
    assert "Planned for the next 24 hours" in page
    for name in ("starts_at", "ends_at"):
        assert f'datetime="{near[name][:19]}Z"' in page
    assert page.index("disks") < page.index("&lt;script&gt;")
    assert page.count("read-only") == 1
    assert "too far away" not in page


def test_the_status_page_tells_nothing_where_nothing_is_announced(client: FlaskClient) -> None:
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "Planned" not in page.text
