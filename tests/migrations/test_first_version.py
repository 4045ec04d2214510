"""A database of the first version, whose revisions were rewritten: one line tells how to move on, and that works."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from ..postgres import execute
from ..shared import snapshot_of
from .tree import Tree

FILES = Path(__file__).with_name("first_version")
OLD_FUNCTIONS = "SELECT proname FROM pg_proc WHERE proname LIKE 'system_settings_%' OR proname LIKE 'live_state_%'"


@pytest.fixture
def old_url(empty_database_url: str) -> str:
    """A database as the first version left it, with a message, a token and a window."""
    if empty_database_url.startswith("sqlite"):
        with closing(sqlite3.connect(empty_database_url.removeprefix("sqlite:///"))) as connection:
            connection.executescript((FILES / "sqlite.sql").read_text())
    else:
        execute(empty_database_url, (FILES / "postgresql.sql").read_text())
    return empty_database_url


def test_the_line_that_is_told_leads_on(
    make_tree: Callable[[str], Tree], old_url: str, make_app: Callable[..., Flask]
) -> None:
    tree = make_tree(old_url)
    code, output = tree.attempt("flask", "db", "upgrade")
    assert code == 1
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if "first version" in line]
    commands = re.findall(r"`(flask [^`]+)`", line)
    assert len(commands) == 2
    for command in commands:
        tree.run(*command.split())
    assert "No new upgrade operations detected." in tree.run("flask", "db", "check")

    app = make_app(old_url)
    state = app.extensions["live"]
    assert state.refresh()
    snapshot = snapshot_of(state)
    assert snapshot.settings["maintenance_message"] == "kept"
    assert [token.name for token in snapshot.tokens.values()] == ["ci"]
    assert [window.starts_at.year for window in snapshot.windows] == [2031]

    said: Any = app.test_cli_runner().invoke(args=["settings", "set", "maintenance_message=new"])
    assert said.stdout == "revision 3: maintenance_message: kept -> new\n"
    [newest, first] = app.test_cli_runner().invoke(args=["settings", "history"]).stdout.splitlines()
    assert "revision 3" in newest
    assert "(migration)" in first
    if old_url.startswith("postgresql"):
        assert execute(old_url, OLD_FUNCTIONS) == []
        assert execute(old_url, "SELECT count(*) FROM system_settings_history") == [(2,)]
