"""Who may do what: named tokens, the bootstrap token, scopes, and how slow guessing is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse, create_environ

from dop_be.access import service
from dop_be.access.tokens import SCOPES
from dop_be.database import Author
from dop_be.extensions import db
from dop_be.live import Live

from ..conftest import ADMIN, ADMIN_TOKEN
from ..postgres import execute
from ..shared import snapshot_of

Sql = Callable[..., list[Any]]
BY = Author("tester", "cli")
URL = "/api/v1/settings"


def body(response: TestResponse) -> Any:
    return response.json


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def token(app: Flask) -> Callable[..., dict[str, str]]:
    """Makes a token with these scopes; the headers that send it."""

    def make(*scopes: str, name: str = "ci", lifetime: timedelta | None = None) -> dict[str, str]:
        with app.app_context():
            return bearer(service.create(name, scopes, BY, lifetime=lifetime)[0])

    return make


def write(client: FlaskClient, headers: dict[str, str], address: str = "192.0.2.1", value: bool = True) -> int:
    change = {"is_maintain": value}
    environ = {"REMOTE_ADDR": address}
    return client.patch(URL, json=change, headers={**headers, "If-Match": "*"}, environ_overrides=environ).status_code


def test_a_change_is_recorded_with_the_tokens_name(client: FlaskClient, token: Callable[..., dict[str, str]]) -> None:
    headers = token("settings:write", name="release-robot")
    assert write(client, headers) == 200
    assert body(client.get(f"{URL}/history", headers=headers))["changes"][0]["changed_by"] == "release-robot"


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_does_what_its_scope_says_and_nothing_else(
    client: FlaskClient, token: Callable[..., dict[str, str]], scope: str
) -> None:
    headers = token(scope)
    private = client.get(URL, headers=headers)
    switched = client.put("/api/v1/maintenance", json={"active": True}, headers=headers)
    assert private.status_code == 200
    reads = scope in {"settings:read", "settings:write"}
    assert ("updated_by" in body(private)) == reads
    assert (client.get(f"{URL}/history", headers=headers).status_code == 200) == reads
    assert (write(client, headers) == 200) == (scope == "settings:write")
    assert (switched.status_code == 200) == (scope == "maintenance:write")
    assert (client.get("/api/v1/tokens", headers=headers).status_code == 200) == (scope == "tokens:write")


def test_a_revoked_token_is_refused_at_once_and_its_name_is_free(
    app: Flask, client: FlaskClient, token: Callable[..., dict[str, str]]
) -> None:
    first = token("settings:write")
    with app.app_context():
        assert service.revoke("ci", BY)
        assert not service.revoke("ci", BY)
    second = token("settings:write")
    assert (write(client, first), write(client, second)) == (401, 200)


def test_an_expired_token_is_refused_without_a_new_reading(
    client: FlaskClient, token: Callable[..., dict[str, str]], sql: Sql, live: Live
) -> None:
    headers = token("settings:write", lifetime=timedelta(days=90))
    assert write(client, headers) == 200
    now = datetime.now(UTC).replace(tzinfo=None)
    sql("UPDATE api_tokens SET expires_at = :past", past=str(now - timedelta(seconds=1)))
    live.refresh()
    assert write(client, headers) == 401


def test_checking_a_token_asks_the_database_nothing(
    app: Flask, client: FlaskClient, token: Callable[..., dict[str, str]]
) -> None:
    headers = token("settings:read")
    asked: list[Any] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments))
    assert client.get(URL, headers=headers).status_code == 200
    assert client.get(URL, headers=bearer("dop_00000000_x")).status_code == 401
    assert asked == []


def test_psql_takes_a_token_out_of_force_too(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    assert app.extensions["live"].refresh()
    with app.app_context():
        headers = bearer(service.create("ci", ["settings:read"], BY)[0])
    version = snapshot_of(app.extensions["live"]).version
    execute(postgresql_url, "UPDATE api_tokens SET revoked_at = now()")
    app.extensions["live"].refresh()
    assert app.test_client().get(URL, headers=headers).status_code == 401
    assert snapshot_of(app.extensions["live"]).version == version + 1


def test_making_and_revoking_raise_the_version(app: Flask, live: Live, token: Callable[..., dict[str, str]]) -> None:
    versions = [snapshot_of(live).version]
    token("settings:read")
    versions.append(snapshot_of(live).version)
    with app.app_context():
        service.revoke("ci", BY)
    versions.append(snapshot_of(live).version)
    assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    "text",
    [b"", b"Bearer", b"Bearer x", b"Basic eDp5", b"Basic \xff", b"Bearer dop_x_y", b"Bearer \xff\xfe", b"x" * 9000],
)
def test_what_is_no_valid_token_is_401_and_says_how(client: FlaskClient, text: bytes) -> None:
    environ = {"HTTP_AUTHORIZATION": text.decode("latin-1")}
    for response in (
        client.get(URL, environ_overrides=environ),
        client.patch(URL, json={"is_maintain": True}, environ_overrides=environ),
        client.get(f"{URL}/history", environ_overrides=environ),
    ):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="dop_be"'
        assert response.content_type == "application/problem+json"


def test_without_any_token_writes_name_the_variable(make_app: Callable[..., Flask], database_url: str) -> None:
    app = make_app(database_url, ADMIN_TOKEN=None)
    app.extensions["live"].refresh()
    response = app.test_client().patch(URL, json={}, headers=bearer("x"))
    assert response.status_code == 403
    assert "ADMIN_TOKEN" in body(response)["detail"]
    with app.app_context():
        made, _ = service.create("first", ["settings:write"], BY)
    assert write(app.test_client(), bearer(made)) == 200
    assert write(app.test_client(), bearer("x")) == 401


def test_while_no_state_was_ever_seen_only_the_bootstrap_token_is_known(make_app: Callable[..., Flask]) -> None:
    client = make_app("postgresql://nobody@127.0.0.1:1/nowhere").test_client()
    unknown = client.patch(URL, json={"is_maintain": True}, headers={**bearer("dop_00000000_x"), "If-Match": "*"})
    assert (unknown.status_code, body(unknown)["code"]) == (503, "state_unknown")
    known = client.patch(URL, json={"is_maintain": True}, headers={**ADMIN, "If-Match": "*"})
    assert (known.status_code, body(known)["code"]) == (503, "database_unavailable")
    assert client.patch(URL, json={"is_maintain": True}).status_code == 401


def test_failures_are_limited_by_address_and_a_valid_token_passes(
    client: FlaskClient, token: Callable[..., dict[str, str]]
) -> None:
    headers = token("settings:write")
    answers = [write(client, bearer(f"dop_00000000_{number}")) for number in range(30)]
    assert answers == [401] * 20 + [429] * 10
    refused = client.get(URL, headers=bearer("x"), environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert (refused.status_code, refused.content_type) == (429, "application/problem+json")
    assert body(refused)["code"] == "too_many_attempts"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert write(client, headers) == 200
    assert write(client, bearer(ADMIN_TOKEN)) == 200
    assert write(client, bearer("x"), address="192.0.2.2") == 401


def test_a_request_without_a_token_is_no_guess(client: FlaskClient) -> None:
    assert {write(client, {}) for _ in range(30)} == {401}


@pytest.mark.parametrize(("hops", "counted_together"), [(0, True), (1, False), (2, True)])
def test_the_address_comes_from_the_proxy_only_as_far_as_it_is_trusted(
    make_app: Callable[..., Flask],
    sqlite_url: str,
    hops: int,
    counted_together: bool,
) -> None:
    """One trusted proxy adds the last address; what stands before it the client made up."""
    app = make_app(sqlite_url, TRUSTED_PROXY_HOPS=hops)
    app.extensions["live"].refresh()
    client = app.test_client()
    answers = [
        write(client, {**bearer("x"), "X-Forwarded-For": f"192.0.2.9, 198.51.100.{number}"}) for number in range(30)
    ]
    assert (429 in answers) == counted_together


def test_a_forged_address_is_worth_nothing_behind_one_proxy(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    app = make_app(sqlite_url, TRUSTED_PROXY_HOPS=1)
    app.extensions["live"].refresh()
    client = app.test_client()
    answers = [
        write(client, {**bearer("x"), "X-Forwarded-For": f"192.0.2.{number}, 198.51.100.7"}) for number in range(30)
    ]
    assert answers == [401] * 20 + [429] * 10


@pytest.mark.parametrize(("hops", "seen"), [(0, "http"), (1, "https"), (2, "https")])
def test_the_scheme_is_the_clients_where_a_proxy_is_trusted(
    make_app: Callable[..., Flask], sqlite_url: str, hops: int, seen: str
) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "platform.example"}
    environ = create_environ("/livez", headers=headers)
    list(make_app(sqlite_url, TRUSTED_PROXY_HOPS=hops).wsgi_app(environ, lambda *_: print))
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (seen, "localhost")
