"""`flask maintenance bypass …`, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient, FlaskCliRunner

from tests.conftest import ADMIN

from .test_maintenance import Sql, run


@pytest.mark.parametrize(
    ("made", "end", "shown"),
    [
        (timedelta(hours=1), None, "expires"),
        (timedelta(hours=3), None, "expired"),
        (timedelta(days=40), timedelta(days=365), "expired"),
    ],
)
def test_a_bypass_from_sql_is_listed_with_the_end_that_the_gate_knows(
    cli: FlaskCliRunner, sql: Sql, made: timedelta, end: timedelta | None, shown: str
) -> None:
    now = datetime.now(UTC)
    sql(
        "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by, expires_at)"
        " VALUES ('aaaaaaaa', 'visitor', 'x', 'maintenance:bypass', :made, 'sql', :end)",
        made=now - made,
        end=end and now + end,
    )
    assert run(cli, "bypass", "list").startswith(f"visitor  {shown} 20")
    free = shown == "expired"
    run(cli, "bypass", "create", "visitor", code=0 if free else 2)


def test_a_bypass_in_json_is_made_listed_and_revoked(cli: FlaskCliRunner, client: FlaskClient) -> None:
    made = json.loads(run(cli, "bypass", "create", "ada", "--for", "30m", "--json"))
    assert (made["name"], made["scopes"]) == ("ada", ["maintenance:bypass"])
    assert made["link"] == f"http://127.0.0.1:8000/gate/bypass/{made['token']}"
    assert (
        timedelta(minutes=29) < datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC) < timedelta(minutes=31)
    )
    assert client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN).status_code == 200
    assert client.get("/", headers={"X-Maintenance-Bypass": made["token"]}).status_code == 200
    run(cli, "bypass", "create", "grace")
    said: dict[str, Any] = json.loads(run(cli, "bypass", "list", "--json"))
    assert [(each["name"], each["state"]) for each in said["tokens"]] == [("ada", "in_force"), ("grace", "in_force")]
    assert said["tokens"][0]["expires_at"] == made["expires_at"]
    assert made["token"].split("_")[2] not in json.dumps(said)
    assert json.loads(run(cli, "bypass", "revoke", "ada", "--json")) == {"name": "ada", "changed": True}
    assert json.loads(run(cli, "bypass", "revoke", "ada", "--json")) == {"name": "ada", "changed": False}
    assert [each["name"] for each in json.loads(run(cli, "bypass", "list", "--json"))["tokens"]] == ["grace"]
