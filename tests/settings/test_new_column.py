"""A setting is one column: add it to the model, let Alembic write the revision, and everything takes it up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = """
import json, sys
from wsgi import app
live = app.extensions["live"]
live.refresh()
client = app.test_client()
admin = {"Authorization": "Bearer " + app.config["ADMIN_TOKEN"], "If-Match": "*"}
answers = [client.get("/api/v1/settings"), client.get("/api/v1/settings", headers=admin)]
for change in json.loads(sys.argv[1]):
    answers.append(client.patch("/api/v1/settings", json=change, headers=admin))
print(json.dumps([[answer.status_code, answer.get_json()] for answer in answers]))
live.stop()
"""


def test_a_setting_is_one_column(run: Callable[..., str], project: Path) -> None:
    run("-m", "flask", "db", "upgrade")
    revisions = set((project / "migrations" / "versions").glob("*.py"))
    run("-m", "flask", "db", "revision", "--autogenerate", "-m", "add three settings")
    [revision] = set((project / "migrations" / "versions").glob("*.py")) - revisions
    assert "dop_be" not in revision.read_text()
    run("-m", "flask", "db", "upgrade")
    run("-m", "flask", "db", "check")

    changes: list[dict[str, Any]] = [
        {"motd": "hello", "seats": 2**31 - 1, "ratio": 1},
        {"motd": "x" * 81},
        {"seats": True},
        {"seats": 2**31},
        {"seats": 1.0},
        {"ratio": "0.5"},
        {"seats": None},
    ]
    public, private, changed, *refused = json.loads(run("-c", CALLS, json.dumps(changes)))
    assert {"motd": None, "ratio": 0.5}.items() <= public[1].items()
    assert "seats" not in public[1]
    assert private[1]["seats"] == 10
    assert changed[0] == 200
    assert {"motd": "hello", "seats": 2**31 - 1, "ratio": 1.0, "revision": 2}.items() <= changed[1].items()
    assert [(status, list(body["errors"])) for status, body in refused] == [
        (422, list(change)) for change in changes[1:]
    ]

    assert run("-m", "flask", "settings", "set", "seats=7", "motd=hi") == (
        "revision 3: motd: hello -> hi, seats: 2147483647 -> 7\n"
    )
    assert "seats                7\n" in run("-m", "flask", "settings", "show")
    assert "seats: Not a valid integer." in run("-m", "flask", "settings", "set", "seats=many", code=2)
