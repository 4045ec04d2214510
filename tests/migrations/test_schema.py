"""The schema that the revisions make: the models', the same by every way, its triggers as the revisions state them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from pytest_alembic.config import Config
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import Engine, create_engine

from dop_be.extensions import db
from migrations.lint import offline_sql
from tests import postgres, processes
from tests.postgres import execute

from .tree import ROOT

__all__ = ["test_model_definitions_match_ddl", "test_single_head_revision", "test_up_down_consistency", "test_upgrade"]

# Tables that no request needs, so that their changes raise no version, each with its reason. Every other table of the
# models must carry the trigger raise_version.
SILENT = {
    "live_state": "it is the version",
    "changes": "requests for it read the database; each entry goes with a change of another table",
}
CREATED = re.compile(r"CREATE (?:OR REPLACE )?FUNCTION (?:@schema\.)?(\w+)\([^)]*\)(.*?)AS \$f\$(.*?)\$f\$", re.DOTALL)
TRIGGER = re.compile(r"CREATE (?:OR REPLACE )?TRIGGER (\w+)\s+(.*?)\s+ON (\w+)\s+(.*?);", re.DOTALL)
DROPPED = re.compile(r"DROP (TRIGGER|FUNCTION) (?:IF EXISTS )?(\w+)(?:\([^)]*\))?(?: ON (\w+))?")


@pytest.fixture
def alembic_config() -> Config:
    return Config({"script_location": str(ROOT / "migrations")})


@pytest.fixture
def alembic_engine(empty_database_url: str, make_app: Callable[..., Flask]) -> Iterator[Engine]:
    """The application's own engine, and its context around the test, since env.py asks the application."""
    if empty_database_url.startswith("sqlite:///"):
        Path(empty_database_url.removeprefix("sqlite:///")).touch()  # only `flask db upgrade` itself makes one
    app = make_app(empty_database_url)
    with app.app_context():
        yield db.engine


def catalogue(url: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """The bodies of the functions by name, and the definitions of the enabled triggers by table and name."""
    functions = execute(
        url,
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')",
    )
    triggers = execute(
        url,
        "SELECT relname, tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid"
        " WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')",
    )
    return dict(functions), {(table, name): definition for table, name, definition in triggers}


def stated(sql: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """The same as the revisions state it, the last word of each counting; `sql` is the whole history's."""
    functions: dict[str, str] = {}
    triggers: dict[tuple[str, str], str] = {}
    found = [*CREATED.finditer(sql), *TRIGGER.finditer(sql), *DROPPED.finditer(sql)]
    for match in sorted(found, key=re.Match.start):
        if match.re is CREATED:
            functions[match[1]] = match[3].replace("@schema", "public")
        elif match.re is TRIGGER:
            triggers[match[3], match[1]] = " ".join(match[0].split())
        elif match[1] == "TRIGGER":
            triggers.pop((match[3], match[2]), None)
        else:
            functions.pop(match[2], None)
    return functions, triggers


def words(definition: str) -> list[str]:
    """A trigger's definition without what PostgreSQL writes in its own way: schema, order of the events, brackets."""
    return sorted(re.sub(r"public\.|or replace |[();]", " ", definition.lower()).split())


def test_triggers_and_their_functions_are_there_as_the_revisions_state_them(postgresql_url: str) -> None:
    """Nobody needs to list a trigger here: what is expected comes from the SQL of the whole history."""
    functions, triggers = stated(history())
    found_functions, found_triggers = catalogue(postgresql_url)
    assert found_functions == functions
    assert found_triggers.keys() == triggers.keys()
    assert {key: words(value) for key, value in found_triggers.items()} == {
        key: words(value) for key, value in triggers.items()
    }
    assert ("system_settings", "raise_version") in triggers


def test_every_table_that_a_request_needs_announces_its_changes(postgresql_url: str) -> None:
    """A new table must carry the trigger, or stand in SILENT with the reason why not."""
    _, triggers = catalogue(postgresql_url)
    announcing = {table for table, _ in triggers if "raise_version()" in triggers.get((table, "raise_version"), "")}
    assert [table for table in db.metadata.tables if table not in announcing | SILENT.keys()] == []


def test_downgrade_and_upgrade_leave_the_same_schema(postgresql_url: str, make_app: Callable[..., Flask]) -> None:
    before = dump(postgresql_url)
    with make_app(postgresql_url).app_context():
        flask_migrate.downgrade(revision="base")
        flask_migrate.upgrade()
    assert dump(postgresql_url) == before


def test_the_sql_of_the_whole_history_makes_the_same_schema(
    postgresql_url: str, empty_postgresql: Callable[..., str], tmp_path: Path
) -> None:
    url, file = empty_postgresql(), tmp_path / "history.sql"
    file.write_text(history())
    processes.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, url])
    assert dump(url) == dump(postgresql_url)


def history() -> str:
    """The SQL of every revision, as `flask db upgrade --sql` prints it."""
    return offline_sql("base")


def dump(url: str) -> list[str]:
    """The schema as pg_dump writes it, without its comments and its random \\restrict lines."""
    dumped = postgres.dump(url, "--schema-only", "--no-owner")
    return sorted(line for line in dumped.splitlines() if not line.startswith(("--", "\\")))


def differences(url: str, statement: str, make_app: Callable[..., Flask]) -> tuple[int, str]:
    app = make_app(url)
    engine = create_engine(app.config["SQLALCHEMY_DATABASE_URI"])
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    result = app.test_cli_runner().invoke(args=["db", "check"])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE system_settings ALTER COLUMN maintenance_mode SET DEFAULT 'read_only'",
        "ALTER TABLE system_settings ALTER COLUMN is_maintain SET DEFAULT true",
        "ALTER TABLE system_settings ALTER COLUMN updated_at DROP DEFAULT",
        "ALTER TABLE system_settings ALTER COLUMN updated_by TYPE varchar(100)",
        "ALTER TABLE system_settings ALTER COLUMN is_maintain DROP NOT NULL",
        "ALTER TABLE system_settings DROP CONSTRAINT ck_system_settings_maintenance_mode",
        (
            "ALTER TABLE system_settings DROP CONSTRAINT ck_system_settings_maintenance_mode, ADD CONSTRAINT"
            " ck_system_settings_maintenance_mode CHECK (maintenance_mode IN ('full', 'read_only', 'off'))"
        ),
    ],
)
def test_check_sees_a_schema_that_is_not_the_models(
    postgresql_url: str, make_app: Callable[..., Flask], statement: str
) -> None:
    code, _ = differences(postgresql_url, statement, make_app)
    assert code == 1


def test_check_tells_a_changed_enumeration_readably(
    postgresql_url: str, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    name = "ck_system_settings_maintenance_mode"
    statement = (
        f"ALTER TABLE system_settings DROP CONSTRAINT {name},"
        f" ADD CONSTRAINT {name} CHECK (maintenance_mode IN ('full', 'off'))"
    )
    _, output = differences(postgresql_url, statement, make_app)
    told = output + caplog.text
    assert f"('remove_constraint', 'system_settings', '{name}')" in told
    assert f"('add_constraint', 'system_settings', '{name}', \"maintenance_mode IN ('full', 'read_only')\")" in told
