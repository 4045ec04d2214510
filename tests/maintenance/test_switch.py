"""The switch: `/api/v1/maintenance`, `flask maintenance`, and what a visitor sees of it, on both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from dop_be.live import Live
from dop_be.sentences import NOTHING_LISTENS
from tests.conftest import ADMIN
from tests.problems import assert_problem

URL = "/api/v1/maintenance"
OPEN = {
    "active": False,
    "mode": "full",
    "message": None,
    "source": None,
    "since": None,
    "until": None,
    "next": None,
    "components": [],
}
PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def switch(client: FlaskClient, **wanted: Any) -> dict[str, Any]:
    response = client.put(URL, json=wanted, headers=ADMIN)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


class TestApi:
    def test_get_says_what_is_in_force(self, client: FlaskClient) -> None:
        response = client.get(URL)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.get_json() == {**OPEN, "revision": 1}

    def test_get_answers_304_to_whom_has_it(self, client: FlaskClient) -> None:
        etag = client.get(URL).headers["ETag"]
        assert client.get(URL, headers={"If-None-Match": etag}).status_code == 304
        switch(client, active=True)
        assert client.get(URL, headers={"If-None-Match": etag}).status_code == 200

    def test_put_turns_it_on_with_what_visitors_are_told(self, client: FlaskClient) -> None:
        body = switch(client, active=True, mode="read_only", message="Back at 10")
        assert body == client.get(URL).get_json()
        since = client.get("/api/v1/settings").get_json()["maintenance_since"]
        on = {"active": True, "mode": "read_only", "message": "Back at 10", "source": "switch", "since": since}
        assert body == {**OPEN, **on, "revision": 2}

    def test_put_takes_the_defaults_for_what_is_left_out(self, client: FlaskClient) -> None:
        switch(client, active=True, mode="read_only", message="Back at 10")
        body = switch(client, active=True)
        assert (body["mode"], body["message"]) == ("full", None)

    def test_put_of_what_already_is_changes_nothing(self, client: FlaskClient) -> None:
        first = switch(client, active=True, message="x")
        assert switch(client, active=True, message="x") == first

    @pytest.mark.parametrize("tag", ["*", "current"])
    def test_put_answers_in_full_whatever_the_client_has(self, client: FlaskClient, tag: str) -> None:
        wanted = client.get(URL).headers["ETag"] if tag == "current" else tag
        for active in (False, True):
            headers = {**ADMIN, "If-None-Match": wanted}
            response = client.put(URL, json={"active": active}, headers=headers)
            assert (response.status_code, response.get_json()["active"]) == (200, active)

    def test_put_turns_it_off(self, client: FlaskClient) -> None:
        switch(client, active=True, message="x")
        assert switch(client, active=False) == {**OPEN, "revision": 3}

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({}, ["active"]),
            ({"active": None}, ["active"]),
            ({"active": 1}, ["active"]),
            ({"active": "true"}, ["active"]),
            ({"active": True, "mode": None}, ["mode"]),
            ({"active": True, "mode": "off"}, ["mode"]),
            ({"active": True, "message": 1}, ["message"]),
            ({"active": True, "message": "x" * 501}, ["message"]),
            ({"active": True, "message": "a\0"}, ["message"]),
            ({"active": True, "until": 5}, ["until"]),
            ({"active": True, "revision": 1, "nonsense": 1}, ["revision", "nonsense"]),
            ([], ["_schema"]),
        ],
    )
    def test_put_refuses_bad_input(self, client: FlaskClient, body: Any, fields: list[str]) -> None:
        response = client.put(URL, json=body, headers=ADMIN)
        assert sorted(assert_problem(response, 422, "invalid")["errors"]) == sorted(fields)
        assert client.get(URL).get_json() == {**OPEN, "revision": 1}

    def test_put_needs_a_token(self, client: FlaskClient) -> None:
        assert_problem(client.put(URL, json={"active": True}), 401, "unauthorized")
        assert client.get(URL).get_json()["active"] is False

    def test_put_asks_for_json_of_a_sane_size(self, client: FlaskClient) -> None:
        assert_problem(client.put(URL, data=b"active=true", headers=ADMIN), 415, "unsupported_media_type")
        json_type = {**ADMIN, "Content-Type": "application/json"}
        assert_problem(client.put(URL, data=b" " * 100_000, headers=json_type), 413, "too_large")
        assert_problem(client.put(URL, data=b'{"active": true', headers=json_type), 400, "not_json")

    def test_the_switch_works_also_during_full_maintenance(self, client: FlaskClient) -> None:
        switch(client, active=True)
        for path in (URL, "/api/v1/settings", "/livez", "/readyz"):
            assert client.get(path).status_code == 200, path
        switch(client, active=False)
        assert client.get("/").status_code == 200


class TestVisitor:
    def test_full_maintenance_refuses_everything_that_is_not_exempt(self, client: FlaskClient) -> None:
        since = switch(client, active=True, message="Zurück um zehn")["since"]
        for method, path in [("GET", "/"), ("POST", "/"), ("GET", "/nowhere"), ("DELETE", "/api/v1/nowhere")]:
            response = client.open(path, method=method)
            body = assert_problem(response, 503, "maintenance")
            assert (body["mode"], body["since"], body["until"]) == ("full", since, None)
            assert body["detail"] == "Zurück um zehn"
            assert response.headers["Retry-After"] == "120"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Vary"] == "Accept"
            assert response.headers["X-Maintenance-Mode"] == "full"

    def test_read_only_maintenance_lets_reads_through(self, client: FlaskClient) -> None:
        switch(client, active=True, mode="read_only")
        for method in ("GET", "HEAD", "OPTIONS"):
            assert client.open("/", method=method).status_code == 200, method
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "LOCK"):
            response = client.open("/", method=method)
            assert assert_problem(response, 503, "maintenance")["mode"] == "read_only"
            assert response.headers["X-Maintenance-Mode"] == "read_only"

    def test_a_browser_gets_a_page_with_the_message_escaped(self, client: FlaskClient) -> None:
        switch(client, active=True, message="<script>alert(1)</script> & more")
        response = client.get("/", headers=PAGE)
        assert response.status_code == 503
        assert response.content_type == "text/html; charset=utf-8"
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in response.text
        assert "<script>alert" not in response.text
        assert not re.search(r"(src|href)\s*=", response.text)
        assert response.headers["Vary"] == "Accept"
        assert response.headers["Retry-After"] == "120"

    @pytest.mark.parametrize(
        "accept", ["", "*/*", "application/json", "text/plain", "text/html;q=0.5, application/json"]
    )
    def test_everyone_else_gets_a_problem_document(self, client: FlaskClient, accept: str) -> None:
        switch(client, active=True)
        assert_problem(client.get("/", headers={"Accept": accept}), 503, "maintenance")

    def test_head_gets_the_headers_alone(self, client: FlaskClient) -> None:
        switch(client, active=True)
        response = client.head("/")
        assert (response.status_code, response.data) == (503, b"")
        assert response.headers["Retry-After"] == "120"

    def test_the_wait_is_configured_where_the_end_is_not_known(
        self, make_app: Callable[..., Flask], database_url: str
    ) -> None:
        app = make_app(database_url, RETRY_AFTER=7)
        app.extensions["live"].refresh()
        switch(app.test_client(), active=True)
        assert app.test_client().get("/").headers["Retry-After"] == "7"

    def test_out_of_maintenance_the_status_page_says_so(self, client: FlaskClient) -> None:
        response = client.get("/")
        assert response.status_code == 200
        assert "No maintenance is in force" in response.text
        assert_problem(client.get("/nowhere"), 404, "not_found")


class TestCommandLine:
    def test_on_off_and_status_with_their_exit_codes(self, cli: FlaskCliRunner, sql: Callable[..., list[Any]]) -> None:
        def run(*arguments: str) -> tuple[int, str]:
            result = cli.invoke(args=["maintenance", *arguments])
            return result.exit_code, result.output

        assert run("status") == (0, "maintenance is off\n")
        code, output = run("on", "--mode", "read_only", "--message", "Back at 10")
        assert code == 0
        [since] = re.findall(
            r"^maintenance is on \(read_only\) since ([^()]+) \((?:now|\d+ s ago)\): Back at 10\n$", output
        )
        said = rf"on \(read_only\) since {re.escape(since)} \((now|\d+ s ago)\): Back at 10\n"
        code, output = run("on", "--mode", "read_only", "--message", "Back at 10")
        assert code == 0
        assert re.fullmatch(f"maintenance is already {said}", output)
        code, output = run("status")
        assert code == 1
        assert re.fullmatch(f"maintenance is {said}", output)
        assert sql("SELECT revision FROM system_settings") == [{"revision": 2}]
        assert run("off") == (0, "maintenance is off\n")
        assert run("off") == (0, "maintenance is already off\n")
        assert sql("SELECT revision FROM system_settings") == [{"revision": 3}]

    def test_status_json_is_what_the_api_answers(self, cli: FlaskCliRunner, client: FlaskClient, live: Live) -> None:
        cli.invoke(args=["maintenance", "on", "--message", "x"])
        live.refresh()
        result = cli.invoke(args=["maintenance", "status", "--json"])
        assert result.exit_code == 1
        assert json.loads(result.output) == client.get(URL).get_json()

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["on", "--mode", "off"], "'off' is not one of 'full', 'read_only'"),
            (["on", "--message", "x" * 501], "message: Longer than maximum length 500."),
            (["on", "now"], "Got unexpected extra argument (now)"),
            (["offf"], "No such command 'offf'"),
        ],
    )
    def test_a_mistake_is_named_and_changes_nothing(
        self, cli: FlaskCliRunner, sql: Callable[..., list[Any]], arguments: list[str], complaint: str
    ) -> None:
        result = cli.invoke(args=["maintenance", *arguments])
        assert result.exit_code == 2
        assert complaint in result.output
        assert "Traceback" not in result.output
        assert sql("SELECT revision FROM system_settings") == [{"revision": 1}]

    def test_an_unmigrated_database_is_named_with_the_remedy(
        self, make_app: Callable[..., Flask], empty_database_url: str
    ) -> None:
        cli = make_app(empty_database_url).test_cli_runner()
        for arguments in (["maintenance", "status"], ["maintenance", "on"], ["settings", "show"]):
            result = cli.invoke(args=arguments)
            assert result.exit_code == 2
            assert "run `flask db upgrade`" in result.output.splitlines()[-1]
            assert "Traceback" not in result.output

    def test_an_unreachable_database_is_one_line_and_code_2(self, make_app: Callable[..., Flask]) -> None:
        cli = make_app("postgresql://nobody@127.0.0.1:1/nothing").test_cli_runner()
        for arguments in (["maintenance", "status"], ["maintenance", "off"], ["settings", "set", "is_maintain=true"]):
            result = cli.invoke(args=arguments)
            assert result.exit_code == 2
            assert result.output == f"Error: {NOTHING_LISTENS}\n"
