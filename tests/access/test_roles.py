"""The roles of the documentation: one migrates, one runs the service, and the latter cannot write the history."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from typing import Any

import flask_migrate
import psycopg2.errors
import pytest
from flask import Flask

from dop_be import create_app

from .. import processes
from ..conftest import ADMIN, configuration, grant
from ..postgres import Cluster, execute

FORGED = """
INSERT INTO changes (id, kind, action, changed_at, changed_by, source, changes)
SELECT 99, kind, action, changed_at, 'nobody', source, changes FROM changes LIMIT 1
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server with the two roles, of which `migrator` owns the database, and the runtime role owns nothing."""
    cluster = Cluster()
    try:
        cluster.start()
        execute(cluster.url(), "CREATE ROLE migrator LOGIN", "CREATE ROLE runtime LOGIN")
        execute(cluster.url(), "CREATE DATABASE platform OWNER migrator")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def platform(cluster: Cluster) -> Cluster:
    app = create_app(configuration(cluster.url("platform", "migrator")))
    with app.app_context():
        flask_migrate.upgrade()
    app.extensions["live"].stop()
    for _ in range(2):  # once more changes nothing
        grant(cluster.url("platform", "migrator"), "runtime")
    return cluster


def test_the_service_works_in_the_runtime_role(platform: Cluster, make_app: Callable[..., Flask]) -> None:
    app = make_app(platform.url("platform", "runtime"))
    app.extensions["live"].start()
    client, cli = app.test_client(), app.test_cli_runner()
    made = cli.invoke(args=["tokens", "create", "ci", "--scope", "settings:write"]).stdout.strip()
    headers = {"Authorization": f"Bearer {made}", "If-Match": "*"}
    assert client.patch("/api/v1/settings", json={"is_maintain": True}, headers=headers).status_code == 200
    assert client.put("/api/v1/maintenance", json={"active": False}, headers=ADMIN).status_code == 200
    assert client.post("/api/v1/settings/undo", json={"revision": 2}, headers=headers).status_code == 200
    assert cli.invoke(args=["tokens", "revoke", "ci"]).exit_code == 0
    assert client.get("/readyz").status_code == 200
    changes: Any = client.get("/api/v1/history", headers=ADMIN).json
    told = [(entry["kind"], entry["changed_by"], entry["database_user"]) for entry in changes["changes"]]
    shell = getpass.getuser()
    assert told == [
        ("token", shell, "runtime"),
        ("settings", "admin", "runtime"),
        ("settings", "ci", "runtime"),
        ("token", shell, "runtime"),
        ("settings", "migrator", "migrator"),
    ]


def test_the_grants_ask_for_the_role(platform: Cluster) -> None:
    script = processes.project() / "deploy" / "grants.sql"
    done = processes.run(["psql", "-q", "-f", script, platform.url("platform", "migrator")], check=False)
    assert done.returncode == 3
    [said] = done.stderr.splitlines()
    assert said.endswith("ERROR:  name the role that runs the service: -v runtime=dop_be_run")


def test_only_the_migrating_role_prunes_the_history(platform: Cluster, make_app: Callable[..., Flask]) -> None:
    words = ["history", "prune", "--before", "2020-01-01"]
    refused = make_app(platform.url("platform", "runtime")).test_cli_runner().invoke(args=words)
    assert refused.exit_code == 2
    assert refused.output.endswith("use the role that migrates.\n")
    allowed = make_app(platform.url("platform", "migrator")).test_cli_runner().invoke(args=words)
    assert (allowed.exit_code, allowed.stdout) == (0, "deleted 0 entries of the history\n")


@pytest.mark.parametrize(
    "statement",
    [
        FORGED,
        "UPDATE changes SET changed_by = 'nobody'",
        "DELETE FROM changes",
        "TRUNCATE changes",
        "DROP TABLE changes",
        "ALTER TABLE changes DISABLE TRIGGER USER",
        "ALTER TABLE system_settings DISABLE TRIGGER USER",
        "SET session_replication_role = replica",
        "DELETE FROM system_settings",
        "INSERT INTO system_settings DEFAULT VALUES",
        "UPDATE live_state SET version = 1",
        "DELETE FROM api_tokens",
        "SELECT prune_changes(now(), 10)",
        "CREATE FUNCTION left(text, integer) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        "CREATE TABLE other (id int)",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
def test_the_runtime_role_cannot_touch_what_is_not_its_own(platform: Cluster, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(platform.url("platform", "runtime"), statement)


def test_a_table_of_a_later_migration_is_granted_too(platform: Cluster) -> None:
    execute(platform.url("platform", "migrator"), "CREATE TABLE later (id int GENERATED ALWAYS AS IDENTITY, n int)")
    execute(platform.url("platform", "runtime"), "INSERT INTO later (n) VALUES (1)", "DELETE FROM later")


def test_the_suite_passes_in_the_runtime_role(cluster: Cluster) -> None:
    """What the tests of the history and of tokens ask of PostgreSQL, with the application in that role."""
    # The suite guards itself, and starts what it needs.
    given = {"PYTHONPATH": "", "TEST_DATABASE_URL": cluster.url(), "TEST_RUNTIME_ROLE": "runtime"}
    modules = ["history/test_history.py", "web/test_auth.py"]
    # That role may not migrate; what is refused before the database is asked, and what takes long, is left out.
    selected = "postgresql and not (downgrade or cannot_be or valid or 64 or gaps)"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-k", selected, *(f"tests/{module}" for module in modules)]
    processes.run(command, env=processes.environment(**given))
