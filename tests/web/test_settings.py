"""`/api/v1/settings`, held to the contract on both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dop_be.live import Live
from dop_be.settings.models import SHOWN
from tests.conftest import ADMIN
from tests.problems import assert_problem

URL = "/api/v1/settings"
PUBLIC = {
    "is_maintain",
    "maintenance_mode",
    "maintenance_message",
    "maintenance_since",
    "revision",
    "updated_at",
}
PRIVATE = PUBLIC | {"id", "updated_by"}
FURTHER = {column.key: bool(column.info.get("public")) for column in SHOWN if column.key not in PRIVATE}
ETAG = re.compile(r'"(\d+)-[0-9a-f]{8}"')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

WRITABLE = ["is_maintain", "maintenance_mode", "maintenance_message"]
WRONG: dict[str, list[Any]] = {
    "is_maintain": [None, 0, 1, 1.0, "true", "yes", "", [], [True], {}],
    "maintenance_mode": [None, True, 0, 1.5, "", "FULL", "full ", "off", [], ["full"], {}],
    "maintenance_message": [True, 0, 1.5, [], ["x"], {}, "x" * 501, "a\0b", "\ud800", "a\udfffb"],
}
READ_ONLY = ["id", "maintenance_since", "revision", "updated_at", "updated_by"]


def patch(client: FlaskClient, data: Any, etag: str = "*", **headers: str) -> TestResponse:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    given = {**ADMIN, "If-Match": etag, "Content-Type": "application/json", **headers}
    return client.patch(URL, data=body, headers={name: value for name, value in given.items() if value})


@pytest.fixture
def unchanged(sql: Callable[..., list[Any]]) -> Callable[[], bool]:
    """Tells whether the row is still what it was when the test began."""
    before = sql("SELECT * FROM system_settings")
    return lambda: sql("SELECT * FROM system_settings") == before


class TestGet:
    def test_shows_anyone_the_public_settings(self, client: FlaskClient) -> None:
        response = client.get(URL)
        assert response.status_code == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["Vary"] == "Authorization"
        assert ETAG.fullmatch(response.headers["ETag"])
        body = response.get_json()
        assert set(body) == PUBLIC | {name for name, public in FURTHER.items() if public}
        assert body["is_maintain"] is False
        assert body["maintenance_mode"] == "full"
        assert body["maintenance_message"] is None
        assert body["maintenance_since"] is None
        assert body["revision"] == 1
        assert TIME.fullmatch(body["updated_at"])

    def test_shows_a_reader_every_setting(self, client: FlaskClient) -> None:
        response = client.get(URL, headers=ADMIN)
        assert response.status_code == 200
        assert set(response.get_json()) == PRIVATE | set(FURTHER)

    def test_tags_each_view_with_the_revision_and_a_digest_of_its_own(self, client: FlaskClient) -> None:
        public, private = client.get(URL).headers["ETag"], client.get(URL, headers=ADMIN).headers["ETag"]
        assert public != private
        assert public.startswith('"1-')
        assert private.startswith('"1-')

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"0-00000000", {}', "*"])
    def test_answers_304_to_whom_has_it(self, client: FlaskClient, form: str) -> None:
        etag = client.get(URL).headers["ETag"]
        response = client.get(URL, headers={"If-None-Match": form.format(etag)})
        assert response.status_code == 304
        assert response.data == b""
        assert response.headers["ETag"] == etag
        assert response.headers["Vary"] == "Authorization"

    @pytest.mark.parametrize("tag", ['"0-00000000"', "1", "garbage", ""])
    def test_answers_in_full_to_whom_has_something_else(self, client: FlaskClient, tag: str) -> None:
        assert client.get(URL, headers={"If-None-Match": tag}).status_code == 200

    def test_does_not_take_the_tag_of_one_view_for_the_other(self, client: FlaskClient) -> None:
        etag = client.get(URL).headers["ETag"]
        assert client.get(URL, headers={**ADMIN, "If-None-Match": etag}).status_code == 200

    @pytest.mark.parametrize("value", ["Bearer wrong", "Bearer", "Basic YTpi", "nonsense", "Bearer " + "x" * 100_000])
    def test_refuses_a_token_that_is_not_valid(self, client: FlaskClient, value: str) -> None:
        response = client.get(URL, headers={"Authorization": value})
        assert_problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_answers_head_without_a_body(self, client: FlaskClient) -> None:
        response = client.head(URL)
        assert response.status_code == 200
        assert response.data == b""
        assert int(response.headers["Content-Length"]) == len(client.get(URL).data)


class TestPatch:
    def test_changes_what_is_sent_and_nothing_else(self, client: FlaskClient, sql: Callable[..., list[Any]]) -> None:
        before = client.get(URL, headers=ADMIN).get_json()
        response = patch(client, {"maintenance_message": "Zurück um zehn 🚧"}, client.get(URL).headers["ETag"])
        assert response.status_code == 200
        body = response.get_json()
        assert body["maintenance_message"] == "Zurück um zehn 🚧"
        assert body["revision"] == 2
        assert body["updated_by"] == "admin"
        assert body["updated_at"] > before["updated_at"]
        kept = {"id", "is_maintain", "maintenance_mode", "maintenance_since"}
        assert {name: body[name] for name in kept} == {name: before[name] for name in kept}
        [row] = sql("SELECT maintenance_message, revision, updated_by FROM system_settings")
        assert row == {"maintenance_message": "Zurück um zehn 🚧", "revision": 2, "updated_by": "admin"}

    def test_answers_what_the_next_read_answers(self, client: FlaskClient) -> None:
        written = patch(client, {"is_maintain": True})
        read = client.get(URL, headers=ADMIN)
        assert (written.data, written.headers["ETag"]) == (read.data, read.headers["ETag"])

    def test_notes_when_the_switch_was_flipped_both_ways_and_not_otherwise(self, client: FlaskClient) -> None:
        start = datetime.now(UTC).isoformat()
        on = patch(client, {"is_maintain": True}).get_json()["maintenance_since"]
        assert on > start
        assert patch(client, {"maintenance_message": "x"}).get_json()["maintenance_since"] == on
        off = patch(client, {"is_maintain": False}).get_json()["maintenance_since"]
        assert off > on

    @pytest.mark.parametrize("data", [{}, {"is_maintain": False}, {"maintenance_message": None}])
    def test_makes_no_revision_where_nothing_changes(
        self, client: FlaskClient, unchanged: Callable[[], bool], data: dict[str, Any]
    ) -> None:
        etag = client.get(URL, headers=ADMIN).headers["ETag"]
        response = patch(client, data, etag)
        assert response.status_code == 200
        assert response.headers["ETag"] == etag
        assert unchanged()

    def test_takes_a_message_of_500_characters_of_any_width(self, client: FlaskClient) -> None:
        message = "🚧" * 500
        assert patch(client, {"maintenance_message": message}).get_json()["maintenance_message"] == message

    @pytest.mark.parametrize("charset", ["application/json; charset=utf-8", "Application/JSON"])
    def test_takes_the_content_type_in_any_spelling(self, client: FlaskClient, charset: str) -> None:
        assert patch(client, {"is_maintain": True}, **{"Content-Type": charset}).status_code == 200


class TestRevision:
    @pytest.mark.parametrize("form", ['"1"', '"1-00000000", "1"', '"0", "1"', "*"])
    def test_if_match_takes_a_revision_without_a_digest(self, client: FlaskClient, form: str) -> None:
        assert patch(client, {"is_maintain": True}, form).status_code == 200

    def test_the_tag_of_the_public_view_is_good_for_a_write(self, client: FlaskClient) -> None:
        assert patch(client, {"is_maintain": True}, client.get(URL).headers["ETag"]).status_code == 200

    @pytest.mark.parametrize(
        "form",
        [
            '"2"',
            '"0-00000000"',
            '"1-00000000"',
            '"-1"',
            '"01x"',
            '"²"',
            'W/"1"',
            "garbage",
            '""',
            '"' + "9" * 5000 + '"',
        ],
    )
    def test_refuses_a_stale_weak_or_malformed_tag_and_tells_the_current_one(
        self, client: FlaskClient, unchanged: Callable[[], bool], form: str
    ) -> None:
        response = patch(client, {"is_maintain": True}, form)
        assert_problem(response, 412, "revision_conflict")
        assert response.headers["ETag"] == client.get(URL, headers=ADMIN).headers["ETag"]
        assert unchanged()

    def test_asks_for_if_match(self, client: FlaskClient, unchanged: Callable[[], bool]) -> None:
        assert_problem(patch(client, {"is_maintain": True}, ""), 428, "revision_required")
        assert unchanged()


class TestBadInput:
    @pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRITABLE for value in WRONG[name]])
    def test_every_field_refuses_every_wrong_value(
        self, client: FlaskClient, unchanged: Callable[[], bool], name: str, value: Any
    ) -> None:
        body = assert_problem(patch(client, {name: value}), 422, "invalid")
        assert list(body["errors"]) == [name]
        assert unchanged()

    @pytest.mark.parametrize("name", READ_ONLY)
    def test_read_only_fields_are_told_apart_from_unknown_ones(
        self, client: FlaskClient, unchanged: Callable[[], bool], name: str
    ) -> None:
        body = assert_problem(patch(client, {name: 1, "nonsense": 1}), 422, "invalid")
        assert body["errors"] == {name: ["Read-only field."], "nonsense": ["Unknown field."]}
        assert unchanged()

    @pytest.mark.parametrize("name", ["singleton", "", "\0", "\ud800", "__class__", "is_maintain ", "x" * 10_000])
    def test_unknown_fields_are_refused(self, client: FlaskClient, unchanged: Callable[[], bool], name: str) -> None:
        body = assert_problem(patch(client, {name: True}), 422, "invalid")
        assert body["errors"] == {name: ["Unknown field."]}
        assert unchanged()

    def test_one_bad_field_spoils_the_good_one(self, client: FlaskClient, unchanged: Callable[[], bool]) -> None:
        assert_problem(patch(client, {"is_maintain": True, "maintenance_mode": "x"}), 422, "invalid")
        assert unchanged()

    @pytest.mark.parametrize("data", [[], [{"is_maintain": True}], None, True, 1, "text", ""])
    def test_what_is_not_an_object_is_refused(
        self, client: FlaskClient, unchanged: Callable[[], bool], data: Any
    ) -> None:
        body = assert_problem(patch(client, data), 422, "invalid")
        assert body["errors"] == {"_schema": ["Not a JSON object."]}
        assert unchanged()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"is_maintain=true",
            b"{'is_maintain': true}",
            b'{"is_maintain": true,}',
            b'{"is_maintain": true} x',
            b'{"is_maintain": true, "is_maintain": false}',
            b'{"x": {"a": 1, "a": 2}}',
            b'{"x": NaN}',
            b'{"x": Infinity}',
            b'{"x": -Infinity}',
            b'{"maintenance_message": "\xff"}',
            b'\xef\xbb\xbf{"is_maintain": true}',
            '{"is_maintain": true}'.encode("utf-16"),
            b"[" * 8000,
            b"9" * 5000,
        ],
    )
    def test_what_is_not_json_is_refused(self, client: FlaskClient, unchanged: Callable[[], bool], body: bytes) -> None:
        assert_problem(patch(client, body), 400, "not_json")
        assert unchanged()

    @pytest.mark.parametrize(
        "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json5", "json"]
    )
    def test_other_content_types_are_refused(
        self, client: FlaskClient, unchanged: Callable[[], bool], content_type: str
    ) -> None:
        response = patch(client, {"is_maintain": True}, **{"Content-Type": content_type})
        assert_problem(response, 415, "unsupported_media_type")
        assert unchanged()

    def test_a_body_of_16_kib_is_read_and_one_byte_more_is_not(
        self, client: FlaskClient, unchanged: Callable[[], bool]
    ) -> None:
        padded = b'{"maintenance_mode": "x"}'.ljust(16 * 1024)
        assert_problem(patch(client, padded), 422, "invalid")
        assert_problem(patch(client, padded + b" "), 413, "too_large")
        assert_problem(patch(client, b" " * 100_000), 413, "too_large")
        assert unchanged()

    def test_numbers_too_large_for_a_float_are_refused(self, client: FlaskClient) -> None:
        assert_problem(patch(client, b'{"is_maintain": 1e999}'), 422, "invalid")


class TestOrder:
    """The contract's order of checks: each request is wrong in every way from one on."""

    WRONG: tuple[tuple[str, dict[str, str], bytes], ...] = (
        ("415", {"Content-Type": "text/plain", "If-Match": ""}, b"x" * 100_000),
        ("413", {"If-Match": ""}, b"x" * 100_000),
        ("400", {"If-Match": ""}, b"{"),
        ("422", {"If-Match": ""}, b'{"nonsense": 1}'),
        ("428", {"If-Match": ""}, b'{"is_maintain": true}'),
        ("412", {"If-Match": '"7"'}, b'{"is_maintain": true}'),
    )

    @pytest.mark.parametrize(("status", "headers", "body"), WRONG, ids=[wrong[0] for wrong in WRONG])
    def test_checks_come_in_the_contracts_order(
        self, client: FlaskClient, status: str, headers: dict[str, str], body: bytes
    ) -> None:
        assert patch(client, body, **headers).status_code == int(status)
        assert patch(client, body, **{**headers, "Authorization": "Bearer wrong"}).status_code == 401


class TestTokens:
    def test_a_write_without_a_token_is_refused(self, client: FlaskClient, unchanged: Callable[[], bool]) -> None:
        response = patch(client, {"is_maintain": True}, Authorization="")
        assert_problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert unchanged()

    @pytest.mark.parametrize("token", ["wrong", "", "ä", "x" * 100_000, "test-admin-token", "a b"])
    def test_a_wrong_token_is_refused(self, client: FlaskClient, unchanged: Callable[[], bool], token: str) -> None:
        assert_problem(patch(client, {"is_maintain": True}, Authorization=f"Bearer {token}"), 401, "unauthorized")
        assert unchanged()

    def test_the_scheme_is_read_in_any_case(self, client: FlaskClient) -> None:
        token = ADMIN["Authorization"].removeprefix("Bearer ")
        assert patch(client, {"is_maintain": True}, Authorization=f"bearer {token}").status_code == 200

    def test_without_a_configured_token_writes_name_the_variable(
        self, make_app: Callable[..., Flask], database_url: str
    ) -> None:
        app = make_app(database_url, ADMIN_TOKEN=None)
        app.extensions["live"].refresh()
        for header in ("", "Bearer x"):
            body = assert_problem(patch(app.test_client(), {}, Authorization=header), 403, "forbidden")
            assert "ADMIN_TOKEN" in body["detail"]


class TestCaching:
    def test_an_error_is_not_cached_and_says_that_it_was_negotiated(self, client: FlaskClient) -> None:
        for response in (
            client.get("/nowhere"),
            client.post(URL),
            client.get("/nowhere", headers={"Accept": "text/html"}),
        ):
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Vary"] == "Accept"

    def test_a_write_answers_in_full_whatever_the_client_has(self, client: FlaskClient) -> None:
        etag = client.get(URL, headers=ADMIN).headers["ETag"]
        for tag in ("*", etag):
            assert patch(client, {}, **{"If-None-Match": tag}).get_json()["revision"] == 1


class TestMethods:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "FOO"])
    def test_other_methods_are_refused_with_those_that_are_not(self, client: FlaskClient, method: str) -> None:
        response = client.open(URL, method=method, headers=ADMIN)
        assert_problem(response, 405, "method_not_allowed")
        assert {"GET", "PATCH"} <= set(response.headers["Allow"].split(", "))

    def test_errors_of_the_api_are_problems_whatever_accept_says(self, client: FlaskClient) -> None:
        for accept in ("text/html", "*/*", "", "image/png"):
            assert_problem(client.post(URL, headers={"Accept": accept}), 405, "method_not_allowed")
            assert_problem(client.get("/api/v1/nothing", headers={"Accept": accept}), 404, "not_found")


def test_a_deleted_row_answers_503_and_loses_nothing(
    client: FlaskClient, live: Live, sql: Callable[..., list[Any]]
) -> None:
    sql("DELETE FROM system_settings")
    live.refresh()
    assert client.get(URL).get_json()["revision"] == 1
    assert_problem(patch(client, {"is_maintain": True}), 503, "settings_missing")
    assert sql("SELECT * FROM system_settings") == []
