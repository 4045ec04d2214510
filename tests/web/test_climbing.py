"""Attempts to give, or to revoke, more than one has over `/api/v1/tokens`, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be.access.tokens import BYPASS, SCOPES
from tests.conftest import ADMIN
from tests.problems import assert_problem

from .conftest import Headers, Holder
from .test_auth import bearer
from .test_tokens import TOKENS, delete, in_days, listed, post

Sql = Callable[..., list[Any]]


@pytest.mark.parametrize("scope", [*[scope for scope in SCOPES if scope != "tokens:write"], BYPASS])
def test_nobody_gives_a_scope_that_they_lack(client: FlaskClient, holder: Holder, scope: str) -> None:
    headers = holder("tokens:write")
    scopes = [scope] if scope == BYPASS else ["tokens:write", scope]
    refused = assert_problem(post(client, headers, scopes=scopes), 403, "forbidden")
    assert scope in refused["detail"]
    assert [token["name"] for token in listed(client)] == ["lead"]
    assert post(client, headers, scopes=["tokens:write"]).status_code == 201


def test_one_gives_what_one_has_also_what_a_scope_implies(client: FlaskClient, holder: Holder) -> None:
    headers = holder("tokens:write", "settings:write")
    assert post(client, headers, scopes=["settings:read", "settings:write", "tokens:write"]).status_code == 201
    assert listed(client)[-1]["created_by"] == "lead"


def test_writing_is_not_implied_by_reading(client: FlaskClient, holder: Holder) -> None:
    headers = holder("tokens:write", "settings:read")
    assert_problem(post(client, headers, scopes=["settings:write"]), 403, "forbidden")


@pytest.mark.parametrize("expires_at", [None, 1.01, 400])
def test_nobody_gives_a_later_expiry_than_their_own(
    client: FlaskClient, holder: Holder, expires_at: float | None
) -> None:
    headers = holder("tokens:write", lifetime=timedelta(days=1))
    wanted = expires_at and in_days(expires_at)
    refused = post(client, headers, scopes=["tokens:write"], expires_at=wanted)
    assert_problem(refused, 403, "forbidden")
    assert post(client, headers, scopes=["tokens:write"], expires_at=in_days(0.9)).status_code == 201


def test_no_chain_of_tokens_climbs(client: FlaskClient, holder: Holder) -> None:
    headers = holder("tokens:write", "settings:read", lifetime=timedelta(days=2))
    child = post(client, headers, name="child", scopes=["tokens:write"], expires_at=in_days(1)).get_json()["token"]
    for body in (
        {"scopes": ["settings:read"], "expires_at": in_days(0.5)},
        {"scopes": ["tokens:write"], "expires_at": in_days(1.5)},
    ):
        assert_problem(post(client, bearer(child), **body), 403, "forbidden")


@pytest.mark.parametrize("scopes", [("settings:read",), ("tokens:write", "maintenance:write"), (BYPASS,)])
def test_nobody_revokes_a_token_that_has_more(client: FlaskClient, holder: Holder, scopes: tuple[str, ...]) -> None:
    headers = holder("tokens:write")
    holder(*scopes, name="other")
    assert_problem(delete(client, "other", headers), 403, "forbidden")
    assert {token["name"] for token in listed(client)} == {"lead", "other"}
    assert delete(client, "other").status_code == 204  # ADMIN_TOKEN may


def test_nobody_revokes_a_token_that_lives_longer(client: FlaskClient, holder: Holder) -> None:
    headers = holder("tokens:write", lifetime=timedelta(days=1))
    holder("tokens:write", name="longer", lifetime=timedelta(days=2))
    holder("tokens:write", name="shorter", lifetime=timedelta(hours=2))
    assert_problem(delete(client, "longer", headers), 403, "forbidden")
    assert delete(client, "shorter", headers).status_code == 204


def test_one_may_revoke_oneself_and_is_out(client: FlaskClient, holder: Holder) -> None:
    headers = holder("tokens:write")
    holder("settings:read", name="admin-like")
    assert delete(client, "lead", headers).status_code == 204
    assert_problem(client.get(TOKENS, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize("headers", ["admin", "lead"])
def test_nobody_is_told_that_the_bootstrap_token_is_revoked(client: FlaskClient, holder: Holder, headers: str) -> None:
    sent = ADMIN if headers == "admin" else holder(*SCOPES)
    assert "ADMIN_TOKEN" in assert_problem(delete(client, "admin", sent), 403, "forbidden")["detail"]


def test_an_expired_token_that_had_more_is_gone_already(client: FlaskClient, holder: Holder, sql: Sql) -> None:
    holder("settings:write", name="old")
    sql("UPDATE api_tokens SET expires_at = '2020-01-01 00:00:00+00:00'")
    headers = holder("tokens:write")
    assert delete(client, "old", headers).status_code == 204
    assert [token["name"] for token in listed(client)] == ["lead"]
    assert post(client, headers, name="old", scopes=["tokens:write"]).status_code == 201


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("UPDATE api_tokens SET revoked_at = '2020-01-01 00:00:00+00:00'", 401),
        ("UPDATE api_tokens SET expires_at = '2020-01-01 00:00:00+00:00'", 401),
        ("DELETE FROM api_tokens", 401),
        ("UPDATE api_tokens SET scopes = 'settings:read'", 403),
        ("UPDATE api_tokens SET scopes = 'tokens:write'", 403),
        ("UPDATE api_tokens SET expires_at = '{soon}'", 403),
    ],
)
def test_what_was_taken_from_a_token_counts_before_the_worker_hears_of_it(
    client: FlaskClient, holder: Holder, sql: Sql, statement: str, status: int
) -> None:
    headers = holder("tokens:write", "settings:read", lifetime=timedelta(days=9))
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat(sep=" ")
    sql(statement.format(soon=soon))  # this worker has no watcher, so that it still takes the token for whole
    entries = sql("SELECT count(*) AS n FROM changes")
    answer = post(client, headers, expires_at=in_days(1))
    assert answer.status_code == status
    assert sql("SELECT count(*) AS n FROM changes") == entries
    assert [row["name"] for row in sql("SELECT name FROM api_tokens WHERE name = 'ci'")] == []


def test_what_is_sent_is_read_before_what_may_be_given_and_that_before_the_name(
    client: FlaskClient, holder: Holder
) -> None:
    headers = holder("tokens:write")
    assert_problem(post(client, headers, name="lead", scopes=["settings:read"], expires_at="x"), 422, "invalid")
    assert_problem(post(client, headers, name="lead", scopes=["settings:read"]), 403, "forbidden")
    assert_problem(post(client, headers, name="lead", scopes=["tokens:write"]), 409, "name_taken")


def test_two_that_revoke_each_other_do_not_wait_for_one_another(
    app: Flask, holder: Holder, client: FlaskClient
) -> None:
    for number in range(5):
        names = [f"{side}-{number}" for side in ("left", "right")]
        headers = [holder("tokens:write", name=name) for name in names]
        statuses: list[int] = []
        ready = threading.Barrier(2)

        def send(name: str, sent: Headers, ready: threading.Barrier = ready, into: list[int] = statuses) -> None:
            ready.wait()
            into.append(delete(app.test_client(), name, sent).status_code)

        threads = [threading.Thread(target=send, args=pair) for pair in zip(names, reversed(headers), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [204, 401]  # whoever was revoked first revokes nobody
        assert len(listed(client)) == number + 1
