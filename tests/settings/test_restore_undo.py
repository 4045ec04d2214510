"""Restore goes back to a revision, undo takes one back; neither moves the switch. With settings of a team's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ..migrations.models import run_sql

# Runs steps: a PATCH for an object, else `restore N`, `undo N` or SQL; prints each answer, and the history at the end.
TALK = """
import json, sys
import sqlalchemy, flask_migrate
from dop_be.extensions import db
from wsgi import app
live, client = app.extensions["live"], app.test_client()
admin = {"Authorization": "Bearer " + app.config["ADMIN_TOKEN"], "If-Match": "*", "X-Change-Reason": "why"}
def step(what):
    live.refresh()
    if isinstance(what, dict):
        return client.patch("/api/v1/settings", json=what, headers=admin)
    how, revision = what.split()
    return client.post("/api/v1/settings/" + how, json={"revision": json.loads(revision)}, headers=admin)
answers = [step(what) for what in json.loads(sys.argv[1])]
history = client.get("/api/v1/settings/history?limit=200", headers=admin).get_json()["changes"]
now = client.get("/api/v1/settings", headers=admin)
print(json.dumps({
    "answers": [[answer.status_code, answer.get_json()] for answer in answers],
    "etag": [answers[-1].headers.get("ETag"), now.headers["ETag"]], "now": now.get_json(), "history": history,
}))
live.stop()
"""


@pytest.fixture
def talk(run: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    run("-m", "flask", "db", "upgrade")
    run("-m", "flask", "db", "revision", "--autogenerate", "-m", "add three settings")
    run("-m", "flask", "db", "upgrade")

    def talk(*steps: Any) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(run("-c", TALK, json.dumps(steps)))
        return said

    return talk


def test_restore_makes_a_revision_with_the_old_values_and_leaves_the_switch(talk: Callable[..., Any]) -> None:
    said = talk(
        {"motd": "two", "seats": 2},
        {"seats": 3, "is_maintain": True, "maintenance_message": "closed"},
        {"motd": None},
        "restore 2",
    )
    status, body = said["answers"][-1]
    assert status == 200
    assert body.pop("restored") == {"revision": 2, "changed": ["motd", "seats"], "gone": []}
    assert body == said["now"]
    assert said["etag"][0] == said["etag"][1]
    assert {"motd": "two", "seats": 2, "is_maintain": True, "maintenance_message": "closed"}.items() <= body.items()
    newest = said["history"][0]
    assert (newest["revision"], newest["reason"]) == (5, "why")
    assert newest["changes"] == {"motd": {"from": None, "to": "two"}, "seats": {"from": 3, "to": 2}}


def test_undo_takes_back_just_one_revision_and_leaves_the_switch(talk: Callable[..., Any]) -> None:
    said = talk({"motd": "two", "seats": 2, "is_maintain": True}, {"ratio": 0.25}, "undo 2")
    status, body = said["answers"][-1]
    assert status == 200
    assert body.pop("undone") == {"revision": 2, "changed": ["motd", "seats"], "gone": []}
    assert body == said["now"]
    assert {"motd": None, "seats": 10, "ratio": 0.25, "is_maintain": True}.items() <= body.items()


def test_undo_names_what_later_revisions_changed_again(talk: Callable[..., Any]) -> None:
    said = talk({"motd": "two", "seats": 2, "ratio": 0.25}, {"seats": 3}, {"seats": 2, "ratio": 1}, "undo 2")
    status, body = said["answers"][-1]
    assert (status, body["code"], body["fields"]) == (409, "changed_since", ["ratio", "seats"])
    assert said["now"]["revision"] == 4


def test_undo_names_what_was_changed_unrecorded(talk: Callable[..., Any], empty_database_url: str) -> None:
    talk({"motd": "two", "seats": 2, "ratio": 0.1})
    around = "SET session_replication_role = replica; " if empty_database_url.startswith("postgresql") else ""
    run_sql(empty_database_url, f"{around}UPDATE system_settings SET seats = 3")
    said = talk("undo 2")
    status, body = said["answers"][-1]
    assert (status, body["code"], body["fields"]) == (409, "changed_since", ["seats"])
    assert (said["now"]["revision"], said["now"]["seats"], said["now"]["motd"]) == (2, 3, "two")


def test_an_undo_can_be_undone(talk: Callable[..., Any]) -> None:
    said = talk({"motd": "two"}, "undo 2", "undo 3")
    assert [status for status, _ in said["answers"]] == [200, 200, 200]
    assert (said["now"]["motd"], said["now"]["revision"]) == ("two", 4)


def test_a_revision_that_moved_only_the_switch_changes_nothing(talk: Callable[..., Any]) -> None:
    said = talk({"is_maintain": True}, "undo 2", "restore 1")
    done: dict[str, list[str]] = {"changed": [], "gone": []}
    assert [body.get("undone") or body.get("restored") for _, body in said["answers"][1:]] == [
        {"revision": 2, **done},
        {"revision": 1, **done},
    ]
    assert (said["now"]["is_maintain"], said["now"]["revision"]) == (True, 2)


def test_what_cannot_be_gone_back_to_is_refused(talk: Callable[..., Any]) -> None:
    wrong = ["0", "2147483648", '"1"', "true", "null"]
    said = talk(*(f"{how} {revision}" for how in ("restore", "undo") for revision in ("2", *wrong)))
    assert [status for status, _ in said["answers"]] == [404, *[422] * 5] * 2


def test_the_shell_says_what_was_done(run: Callable[..., str], talk: Callable[..., Any]) -> None:
    talk({"motd": "two", "seats": 2})
    assert run("-m", "flask", "settings", "undo", "2", "--reason", "oops") == (
        "revision 3: motd: two -> null, seats: 2 -> 10\n"
    )
    assert run("-m", "flask", "settings", "restore", "2") == "revision 4: motd: null -> two, seats: 10 -> 2\n"
    assert run("-m", "flask", "settings", "restore", "2") == "revision 4: nothing to change\n"
    assert "Changed again since then: motd, seats." in run("-m", "flask", "settings", "undo", "3", code=2)
    assert "There is no revision 99" in run("-m", "flask", "settings", "undo", "99", code=2)
    assert "# oops" in run("-m", "flask", "settings", "history")
