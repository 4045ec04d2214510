"""The table of windows, as migrations leave it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_migrate
import pytest
from flask import Flask

REVISION = "b7e93f5a0c18"
Sql = Callable[..., list[Any]]


def test_a_downgrade_keeps_the_windows_for_the_next_upgrade(app: Flask, sql: Sql) -> None:
    sql("INSERT INTO maintenance_windows (starts_at, ends_at) VALUES ('2031-01-01 02:00:00', '2031-01-01 03:00:00')")
    kept = sql("SELECT * FROM maintenance_windows")
    with app.app_context():
        flask_migrate.downgrade(revision=f"{REVISION}-1")
        assert sql("SELECT * FROM maintenance_windows") == kept  # and newer workers go on reading it
        flask_migrate.upgrade()
    assert sql("SELECT * FROM maintenance_windows") == kept
    assert (kept[0]["mode"], kept[0]["timezone"], kept[0]["rrule"]) == ("full", "UTC", None)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # on SQLite the application announces
def test_windows_are_announced_again_after_a_downgrade_and_upgrade(app: Flask, sql: Sql) -> None:
    with app.app_context():
        flask_migrate.downgrade(revision=f"{REVISION}-1")
        flask_migrate.upgrade()
    triggers = sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'maintenance_windows'::regclass ORDER BY tgname")
    assert [row["tgname"] for row in triggers] == [
        "raise_version",
        "raise_version_emptied",
        "record_change",
        "refers",
        "refuse_truncate",
    ]
