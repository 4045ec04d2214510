"""`/api/v1/tokens`: made, listed and revoked over HTTP, on both databases, and every attempt to climb."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from dop_be.access.tokens import BYPASS, SCOPES
from tests.conftest import ADMIN
from tests.problems import assert_problem

from .conftest import Headers, Holder
from .test_auth import bearer

Sql = Callable[..., list[Any]]
TOKENS = "/api/v1/tokens"
HISTORY = "/api/v1/history?kind=token"


def in_days(number: float) -> str:
    return (datetime.now(UTC) + timedelta(days=number)).isoformat()


def post(client: FlaskClient, headers: Headers = ADMIN, **body: Any) -> Any:
    return client.post(TOKENS, json={"name": "ci", "scopes": ["settings:read"], **body}, headers=headers)


def delete(client: FlaskClient, name: str, headers: Headers = ADMIN) -> Any:
    return client.delete(f"{TOKENS}/{name}", headers=headers)


def listed(client: FlaskClient) -> list[Any]:
    found: list[Any] = client.get(TOKENS, headers=ADMIN).get_json()["tokens"]
    return found


def test_a_token_is_shown_once_works_and_is_listed_without_its_secret(client: FlaskClient) -> None:
    expires_at = in_days(30)
    made = post(client, scopes=["settings:write", "maintenance:write"], expires_at=expires_at)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    text = made.json["token"]
    assert re.fullmatch(r"dop_[0-9a-f]{8}_[0-9a-f]{48}", text)
    shown = {name: value for name, value in made.json.items() if name != "token"}
    assert shown == {
        "name": "ci",
        "id": text.split("_")[1],
        "scopes": ["maintenance:write", "settings:write"],
        "components": None,
        "created_at": shown["created_at"],
        "created_by": "admin",
        "expires_at": shown["expires_at"],
    }
    assert datetime.fromisoformat(shown["expires_at"]) == datetime.fromisoformat(expires_at)
    assert client.put("/api/v1/maintenance", json={"active": True}, headers=bearer(text)).status_code == 200
    answer = client.get(TOKENS, headers=ADMIN)
    assert (answer.get_json(), answer.headers["Cache-Control"]) == ({"tokens": [shown]}, "no-store")
    assert text.split("_")[2] not in answer.text


def test_without_an_expiry_a_token_has_none(client: FlaskClient) -> None:
    assert post(client).json["expires_at"] is None
    assert post(client, name="cd", expires_at=None).json["expires_at"] is None


def test_a_bypass_comes_with_its_link_and_ends_after_two_hours(
    make_app: Callable[..., Flask], database_url: str
) -> None:
    app = make_app(database_url, PUBLIC_URL="https://example.com")
    assert app.extensions["live"].refresh()
    client = app.test_client()
    made = post(client, name="ada", scopes=[BYPASS]).get_json()
    assert made["link"] == f"https://example.com/gate/bypass/{made['token']}"
    lifetime = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert lifetime == timedelta(hours=2)
    client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN)
    passing = {"X-Maintenance-Bypass": made["token"]}
    assert client.get("/gate", headers=passing).status_code == 200
    assert client.get(TOKENS, headers=bearer(made["token"])).status_code == 401  # authenticates nothing
    assert [token["name"] for token in listed(client)] == ["ada"]
    answer = delete(client, "ada")
    assert answer.status_code == 204
    assert client.get("/gate", headers=passing).status_code == 503


def test_revoking_is_204_again_where_it_is_gone(client: FlaskClient) -> None:
    text = post(client).get_json()["token"]
    answers = [delete(client, name) for name in ("ci", "ci", "never-was")]
    assert [(one.status_code, one.headers["Cache-Control"], one.data) for one in answers] == [
        (204, "no-store", b"")
    ] * 3
    assert client.get(TOKENS, headers=bearer(text)).status_code == 401
    assert listed(client) == []
    changes = client.get(HISTORY, headers=ADMIN).get_json()["changes"]
    assert [change["action"] for change in changes] == ["update", "insert"]


def test_who_made_and_revoked_a_token_and_why_is_recorded(client: FlaskClient) -> None:
    post(client, {**ADMIN, "X-Change-Reason": "for the robot"})
    delete(client, "ci", {**ADMIN, "X-Change-Reason": "robot is gone"})
    changes = client.get(HISTORY, headers=ADMIN).get_json()["changes"]
    assert [(one["key"], one["changed_by"], one["source"], one["reason"]) for one in changes] == [
        ("ci", "admin", "api", "robot is gone"),
        ("ci", "admin", "api", "for the robot"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "admin"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": ".ci"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "c" * 101}, "name"),
        ({"name": "ci\n"}, "name"),
        ({"name": "ci\0"}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"scopes": "settings:read"}, "scopes"),
        ({"scopes": {"settings:read": True}}, "scopes"),
        ({"scopes": ["settings:read", "everything"]}, "scopes"),
        ({"scopes": ["settings:read settings:write"]}, "scopes"),
        ({"scopes": [7]}, "scopes"),
        ({"scopes": [BYPASS, "settings:read"]}, "scopes"),
        ({"expires_at": "2021-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2031-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "2031-01-01"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"expires_at": "90d"}, "expires_at"),
        ({"expires_at": 90}, "expires_at"),
        ({"scopes": [BYPASS], "expires_at": "2021-01-01T00:00:00Z"}, "expires_at"),
        ({"token": "dop_00000000_0"}, "token"),
        ({"digest": "0"}, "digest"),
    ],
)
def test_a_token_that_makes_no_sense_is_422_and_none_is_made(
    client: FlaskClient, body: dict[str, Any], field: str
) -> None:
    refused = assert_problem(post(client, **body), 422, "invalid")
    assert list(refused["errors"]) == [field]
    assert all(isinstance(text, str) for text in refused["errors"][field])
    assert listed(client) == []


def test_a_bypass_is_at_most_30_days(client: FlaskClient) -> None:
    refused = post(client, scopes=[BYPASS], expires_at=in_days(30.01))
    assert_problem(refused, 422, "invalid")
    assert post(client, scopes=[BYPASS], expires_at=in_days(29.9)).status_code == 201


@pytest.mark.parametrize("scopes", [["settings:read"], [BYPASS]])
def test_a_name_in_force_is_taken_and_free_again_after_expiry_or_revocation(
    client: FlaskClient, sql: Sql, scopes: list[str]
) -> None:
    assert post(client, scopes=scopes).status_code == 201
    assert_problem(post(client), 409, "name_taken")
    sql("UPDATE api_tokens SET expires_at = '2020-01-01 00:00:00+00:00', created_at = '2019-12-31 23:00:00+00:00'")
    assert post(client).status_code == 201
    assert_problem(post(client), 409, "name_taken")
    delete(client, "ci")
    assert post(client).status_code == 201
    assert [token["name"] for token in listed(client)] == ["ci"]


def test_of_the_same_name_made_at_once_one_is(app: Flask) -> None:
    answers: list[tuple[int, str | None]] = []
    ready = threading.Barrier(4)

    def send() -> None:
        client = app.test_client()
        ready.wait()
        answer = post(client)
        answers.append((answer.status_code, answer.get_json().get("code")))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [(201, None), *[(409, "name_taken")] * 3]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "tokens:write"])
def test_only_tokens_write_opens_any_of_it(client: FlaskClient, holder: Holder, method: str, scope: str) -> None:
    headers = holder(scope)
    for path in (TOKENS, f"{TOKENS}/lead") if method == "POST" else (TOKENS,):
        verb = "DELETE" if path != TOKENS else method
        assert_problem(client.open(path, method=verb, json={}, headers=headers), 403, "forbidden")
        assert_problem(client.open(path, method=verb, json={}), 401, "unauthorized")
    assert [token["name"] for token in listed(client)] == ["lead"]


def test_maintenance_refuses_none_of_it(client: FlaskClient) -> None:
    client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN)
    assert post(client).status_code == 201
    assert len(listed(client)) == 1
    assert delete(client, "ci").status_code == 204


def test_a_shell_gives_every_scope(cli: FlaskCliRunner, client: FlaskClient) -> None:
    words = [word for scope in SCOPES for word in ("--scope", scope)]
    made = cli.invoke(args=["tokens", "create", "all", *words])
    assert made.exit_code == 0, made.output
    assert listed(client)[0]["scopes"] == sorted(SCOPES)
    taken = cli.invoke(args=["tokens", "create", "all", "--scope", "settings:read"])
    said = "Error: name: There is a token 'all' already; revoke it first: `flask tokens revoke all`.\n"
    assert (taken.exit_code, taken.output) == (2, said)
