"""`/api/v1/components`: made, named anew, listed and removed, with a record of each change, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ..conftest import ADMIN

Sql = Callable[..., list[dict[str, Any]]]
COMPONENTS = "/api/v1/components"


def put(client: FlaskClient, name: str, **body: Any) -> Any:
    return client.put(f"{COMPONENTS}/{name}", json=body, headers={**ADMIN, "X-Change-Reason": "because"})


def changes(client: FlaskClient, kind: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = client.get(f"/api/v1/history?kind={kind}", headers=ADMIN).get_json()["changes"]
    return listed


def test_a_component_is_made_once_and_may_be_named_anew(client: FlaskClient) -> None:
    made = put(client, "billing", title="Payments")
    assert (made.status_code, made.get_json()) == (201, {"name": "billing", "title": "Payments"})
    assert made.headers["Location"] == f"{COMPONENTS}/billing/maintenance"
    assert put(client, "billing", title="Payments").status_code == 200
    assert put(client, "billing").get_json() == {"name": "billing", "title": "billing"}
    told = changes(client, "component")
    assert [(each["key"], each["action"], each["reason"], each["changed_by"]) for each in told] == [
        ("billing", "update", "because", "admin"),
        ("billing", "insert", "because", "admin"),
    ]
    assert told[0]["changes"] == {"title": {"from": "Payments", "to": None}}


def test_it_is_listed_with_what_is_in_force(client: FlaskClient) -> None:
    assert client.get(COMPONENTS).get_json() == {"components": []}
    put(client, "search")
    put(client, "billing", title="Payments")
    listed = client.get(COMPONENTS)
    assert [each["name"] for each in listed.get_json()["components"]] == ["billing", "search"]
    assert (
        listed.get_json()["components"][0]["maintenance"] == client.get(f"{COMPONENTS}/billing/maintenance").get_json()
    )
    assert client.get(COMPONENTS, headers={"If-None-Match": listed.headers["ETag"]}).status_code == 304


def test_an_unknown_one_is_not_found(client: FlaskClient) -> None:
    answer = client.get(f"{COMPONENTS}/nobody/maintenance")
    assert (answer.status_code, answer.get_json()["detail"]) == (404, "There is no component 'nobody'.")


def test_removing_one_cancels_its_windows_and_takes_it_off_tokens(client: FlaskClient, sql: Sql) -> None:
    for name in ("billing", "search"):
        put(client, name)
    begins = datetime.now(UTC) + timedelta(hours=1)
    for name in ("'billing'", "'search'", "NULL"):
        add_window(sql, begins, name)
    sql(
        "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by, components)"
        f" VALUES ('00000000', 'robot', 'x', 'maintenance:write', '{begins:%F %T}', 'sql', 'billing search')"
    )
    assert client.delete(f"{COMPONENTS}/billing", headers=ADMIN).status_code == 204
    assert client.delete(f"{COMPONENTS}/billing", headers=ADMIN).status_code == 204
    assert {row["component"] for row in sql("SELECT component FROM maintenance_windows")} == {"search", None}
    assert sql("SELECT components FROM api_tokens") == [{"components": "search"}]
    newest = {kind: changes(client, kind)[0] for kind in ("component", "window", "token")}
    assert (newest["component"]["key"], newest["component"]["action"]) == ("billing", "delete")
    assert newest["window"]["action"] == "delete"
    assert newest["token"]["changes"] == {"components": {"from": "billing search", "to": "search"}}
    put(client, "billing")
    assert sql("SELECT components FROM api_tokens") == [{"components": "search"}]
    assert len(sql("SELECT component FROM maintenance_windows")) == 2


def add_window(sql: Sql, begins: datetime, component: str) -> None:
    ends = begins + timedelta(hours=1)
    columns, values = "starts_at, ends_at, component", f"'{begins:%F %T}', '{ends:%F %T}', {component}"
    sql(f"INSERT INTO maintenance_windows ({columns}) VALUES ({values})")


@pytest.mark.parametrize("name", ["-a", "Billing", "a_b", "a.b", "a" * 64, "ä", "%00", "a%20b", "a'b"])
def test_other_names_are_refused(client: FlaskClient, name: str) -> None:
    answer = put(client, name)
    assert answer.status_code == 422
    assert "is not the name of a component" in answer.get_json()["errors"]["name"][0]


@pytest.mark.parametrize("name", ["component", "bypass", "a", "0", "a-b--c", "a" * 63])
def test_any_name_of_this_form_will_do(client: FlaskClient, name: str) -> None:
    assert put(client, name).status_code == 201
    assert client.get(f"/gate/component/{name}").status_code == 200


def test_a_name_with_a_slash_is_another_path(client: FlaskClient) -> None:
    assert put(client, "a/b").status_code == 404


@pytest.mark.parametrize("title", ["", "x" * 101, 7, True, ["x"], "\0", "\ud800"])
def test_other_titles_are_refused(client: FlaskClient, title: Any) -> None:
    answer = put(client, "billing", title=title)
    assert answer.status_code == 422
    assert "title" in answer.get_json()["errors"]


def test_there_are_a_thousand_at_most(client: FlaskClient, sql: Sql) -> None:
    for number in range(0, 1000, 100):
        sql("INSERT INTO components (name) VALUES " + ", ".join(f"('c{number + each}')" for each in range(100)))
    answer = put(client, "more")
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == {"_schema": ["There are 1,000 components already; remove one first."]}
    assert put(client, "c7", title="still").status_code == 200


@pytest.mark.parametrize("name", ["'Billing'", "'-a'", "''", "'a b'", f"'{'a' * 64}'"])
def test_the_database_itself_refuses_other_names(app: Flask, sql: Sql, name: str) -> None:
    with pytest.raises(Exception, match=r"ck_components_name|too long|violates check"):
        sql(f"INSERT INTO components (name) VALUES ({name})")
