"""How every command behaves."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from dop_be.cli import commands


def test_a_user_without_a_name_acts_by_number(
    cli: FlaskCliRunner, sql: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert cli.invoke(args=["maintenance", "on"]).exit_code == 0
    assert sql("SELECT updated_by FROM system_settings") == [{"updated_by": f"uid {os.getuid()}"}]


def test_a_fault_of_our_own_does_not_read_as_in_maintenance(app: Flask) -> None:
    group = commands.Group("faulty")

    @group.command("fail")
    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    app.cli.add_command(group)
    result = app.test_cli_runner().invoke(args=["faulty", "fail"])
    assert (result.exit_code, result.output) == (2, "Error: ZeroDivisionError: division by zero\n")


def test_a_command_that_does_not_exist_is_told(cli: FlaskCliRunner) -> None:
    result = cli.invoke(args=["nonsense"])
    assert result.exit_code == 2
    assert result.output.endswith("Error: No such command 'nonsense'.\n")


def test_control_characters_are_shown_escaped(cli: FlaskCliRunner, sql: Callable[..., object]) -> None:
    """What SQL has stored must not play tricks on an operator's terminal."""
    sql(
        "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by)"
        " VALUES ('cafecafe', :name, 'x', 'settings:read', '2026-01-01 00:00:00+00:00', 'sql')",
        name="a\nb\x1b[31m",
    )
    [line] = cli.invoke(args=["tokens", "list"]).output.splitlines()
    assert line.startswith(r"a\nb\x1b[31m  cafecafe")


@pytest.mark.limits
def test_a_command_that_waits_for_a_lock_says_whose_it_is(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    with closing(psycopg2.connect(postgresql_url, application_name="psql")) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE live_state IN ACCESS EXCLUSIVE MODE")
        done = app.test_cli_runner().invoke(args=["maintenance", "status"])
        assert done.exit_code == 2
        assert f"PostgreSQL process {other.info.backend_pid} of postgres (psql)" in done.output
