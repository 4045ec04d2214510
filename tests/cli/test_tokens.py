"""`flask tokens …`"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from ..postgres import execute
from ..web.test_auth import bearer


def create(cli: FlaskCliRunner, *arguments: str) -> str:
    result = cli.invoke(args=["tokens", "create", *arguments])
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_create_prints_the_token_alone_and_it_works(cli: FlaskCliRunner, client: FlaskClient) -> None:
    text = create(cli, "ci", "--scope", "settings:read", "--scope", "maintenance:write", "--expires", "90d")
    assert re.fullmatch(r"dop_[0-9a-f]{8}_[0-9a-f]{48}", text)
    assert client.put("/api/v1/maintenance", json={"active": True}, headers=bearer(text)).status_code == 200
    assert "id" in client.get("/api/v1/settings", headers=bearer(text)).json  # type: ignore[operator]


def test_list_tells_every_token_and_no_secret(cli: FlaskCliRunner) -> None:
    texts = [create(cli, "one", "--scope", "settings:read")]
    texts.append(create(cli, "two", "--scope", "settings:write", "--expires", "2h"))
    cli.invoke(args=["tokens", "revoke", "one"])
    listed = cli.invoke(args=["tokens", "list"]).output
    one, two = listed.splitlines()
    assert one.startswith(f"one  {texts[0].split('_')[1]}  revoked ")
    assert two.startswith(f"two  {texts[1].split('_')[1]}  in force until ")
    assert one.index("settings:read") == two.index("settings:write")
    assert one.index("made ") == two.index("made ")
    assert not [text for text in texts if text.split("_")[2] in listed]


def test_revoke_is_idempotent_and_names_what_it_does_not_know(cli: FlaskCliRunner) -> None:
    create(cli, "ci", "--scope", "settings:read")
    said = [cli.invoke(args=["tokens", "revoke", name]) for name in ("ci", "ci", "cd")]
    assert [(result.exit_code, result.output) for result in said] == [
        (0, "token ci is revoked\n"),
        (0, "token ci is already revoked\n"),
        (2, "Error: name: There is no token 'cd'.\n"),
    ]


def test_a_token_that_expired_stays_expired_where_its_name_is_used_again(
    cli: FlaskCliRunner, sql: Callable[..., object]
) -> None:
    create(cli, "ci", "--scope", "settings:read")
    sql("UPDATE api_tokens SET expires_at = :then", then="2020-01-01 00:00:00+00:00")
    create(cli, "ci", "--scope", "settings:read")
    cli.invoke(args=["tokens", "revoke", "ci"])
    states = [line.split("  ")[2] for line in cli.invoke(args=["tokens", "list"]).output.splitlines()]
    assert re.fullmatch(r"expired 2020-01-01 01:00 CET \(\d+ d ago\)", states[0])
    assert states[1].startswith("revoked ")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a b", "'a b' is not the name of a token; use up to 100 letters, digits and . _ -{ending}."),
        ("admin", "'admin' is taken by ADMIN_TOKEN; use another name."),
    ],
)
def test_a_name_that_cannot_be_used_is_told(cli: FlaskCliRunner, name: str, complaint: str) -> None:
    result = cli.invoke(args=["tokens", "create", name, "--scope", "settings:read"])
    assert (result.exit_code, result.output) == (
        2,
        f"Error: name: {complaint}\n".format(ending=" beginning with a letter or a digit"),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["ci"],
        ["ci", "--scope", "everything"],
        ["ci", "--scope", "settings:read", "--expires", "90"],
        ["ci", "--scope", "settings:read", "--expires", "0d"],
        ["ci", "--scope", "settings:read", "--expires", "999999w"],
        ["admin", "--scope", "settings:read"],
        ["x" * 201, "--scope", "settings:read"],
        ["a\nb", "--scope", "settings:read"],
        [" ", "--scope", "settings:read"],
        ["taken", "--scope", "settings:read"],
    ],
)
def test_what_cannot_be_a_token_is_refused(cli: FlaskCliRunner, arguments: list[str]) -> None:
    create(cli, "taken", "--scope", "settings:read")
    result = cli.invoke(args=["tokens", "create", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(cli.invoke(args=["tokens", "list"]).output.splitlines()) == 1


@pytest.mark.parametrize("year", ["20000-01-01", "0044-01-01 BC"])
def test_a_token_with_a_year_that_python_cannot_hold_is_listed_and_revoked(
    make_app: Callable[..., Flask], postgresql_url: str, year: str
) -> None:
    execute(
        postgresql_url,
        f"INSERT INTO api_tokens VALUES ('aaaaaaaa', 'far', 'x', 'settings:read', '{year}', 'sql', '{year}')",
    )
    cli = make_app(postgresql_url).test_cli_runner()
    assert cli.invoke(args=["tokens", "list"]).output.startswith("far  aaaaaaaa  ")
    assert cli.invoke(args=["tokens", "revoke", "far"]).output == "token far is revoked\n"


def test_tokens_in_json_have_the_apis_members(cli: FlaskCliRunner, client: FlaskClient) -> None:
    def said(*words: str) -> Any:
        return json.loads(cli.invoke(args=["tokens", *words, "--json"]).stdout)

    made = said("create", "ci", "--scope", "settings:write", "--scope", "maintenance:write")
    assert made == {
        "name": "ci",
        "scopes": ["maintenance:write", "settings:write"],
        "components": None,
        "expires_at": None,
        "token": made["token"],
    }
    assert client.get("/api/v1/history", headers=bearer(made["token"])).status_code == 200
    before = datetime.now(UTC)
    create(cli, "old", "--scope", "settings:read", "--expires", "90d")
    one, two = said("list")["tokens"]
    lifetime = datetime.fromisoformat(two["expires_at"]) - before
    assert timedelta(days=90) - timedelta(seconds=1) <= lifetime < timedelta(days=90, minutes=1)
    assert (one["id"], one["name"], one["scopes"]) == (made["token"].split("_")[1], "ci", made["scopes"])
    assert (one["state"], one["revoked_at"], one["revoked_by"]) == ("in_force", None, None)
    assert said("revoke", "ci") == {"name": "ci", "changed": True}
    assert said("revoke", "ci") == {"name": "ci", "changed": False}
    [revoked] = [each for each in said("list")["tokens"] if each["name"] == "ci"]
    assert revoked["state"] == "revoked"
    assert revoked["revoked_at"].endswith("Z")
