"""What an application answers, and logs, while its database fails."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ..conftest import ADMIN

SOON = 5.0  # seconds: fresh this soon after the database's return
# The connection that is kept open for writes, once it has been used.
WARM = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE application_name = 'dop_be' AND datname = current_database() AND state = 'idle' AND query <> ''"
)


def set_message(client: FlaskClient, message: str) -> int:
    headers = {**ADMIN, "If-Match": "*"}
    return client.patch("/api/v1/settings", json={"maintenance_message": message}, headers=headers).status_code


def message(app: Flask) -> str | None:
    body: dict[str, Any] = app.test_client().get("/api/v1/settings").get_json()
    text: str | None = body["maintenance_message"]
    return text


def problem_code(app: Flask, path: str) -> tuple[int, str | None]:
    response = app.test_client().get(path)
    return response.status_code, response.get_json().get("code")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The live state's log lines, up to the first comma; not which server it is."""
    records = [record for record in caplog.records if record.name == "dop_be.live.state"]
    return [(record.levelname, record.getMessage().partition(",")[0]) for record in records]


def notes(app: Flask) -> tuple[int, str]:
    response = app.test_client().get("/readyz")
    return response.status_code, " ".join(response.get_json()["notes"])
