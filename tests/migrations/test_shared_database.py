"""In a database with other programs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from dop_be.live import Live
from tests.conftest import ADMIN
from tests.postgres import execute

from .tree import Tree, until

UPGRADE = ("flask", "db", "upgrade")
BOTH = pytest.mark.parametrize("line", [UPGRADE, ("alembic", "upgrade", "head")], ids=["flask", "alembic"])


@BOTH
def test_another_programs_version_table(postgresql_tree: Tree, line: tuple[str, ...]) -> None:
    execute(
        postgresql_tree.url,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('5e0a11c0ffee')",
    )
    told = postgresql_tree.refused(*line)
    assert "alembic_version is at 5e0a11c0ffee, a revision of another program in this database" in told
    assert "CREATE SCHEMA dop_be;" in told
    assert "?options=-csearch_path%3Ddop_be" in told
    assert execute(postgresql_tree.url, "SELECT version_num FROM alembic_version") == [("5e0a11c0ffee",)]
    assert "another program" in postgresql_tree.refused(*line[: line.index("upgrade")], "current")


def test_another_programs_empty_version_table_stays_when_an_upgrade_fails(postgresql_tree: Tree) -> None:
    [first] = (postgresql_tree.path / "migrations" / "versions").glob("19176e327d47_*.py")
    first.write_text(first.read_text().replace("def upgrade() -> None:\n", "def upgrade() -> None:\n    forgotten\n"))
    execute(postgresql_tree.url, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    assert "in revision 19176e327d47" in postgresql_tree.attempt(*UPGRADE)[1]
    assert execute(postgresql_tree.url, "SELECT version_num FROM alembic_version") == []


def test_a_database_of_a_newer_release(migrated_tree: Tree) -> None:
    execute(migrated_tree.url, "UPDATE alembic_version SET version_num = '5e0a11c0ffee'")
    told = migrated_tree.refused(*UPGRADE)
    assert "the database is at 5e0a11c0ffee, which this release does not know, since a newer one migrated it" in told
    assert "another program" not in told


def test_another_programs_version_table_in_a_file(make_tree: Callable[[str], Tree], tmp_path: Path) -> None:
    file = tmp_path / "shared.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.executescript("CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('a')")
    connection.close()  # Alembic alone would take 'a' as short for one of ours
    assert "give dop_be a file of its own, in DATABASE_URL" in make_tree(f"sqlite:///{file}").refused(*UPGRADE)


OTHERS = (
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('5e0a11c0ffee')",
    "CREATE TABLE customers (id integer PRIMARY KEY, name text)",
    "INSERT INTO customers VALUES (1, 'the first')",
)
PUBLIC = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname"


def test_the_whole_life_in_a_schema_of_its_own(
    postgresql_tree: Tree, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """By the way that the error tells: migrate, serve, write, listen, and leave the other program alone."""
    tree, url = postgresql_tree, postgresql_tree.url
    execute(url, *OTHERS)
    before = execute(url, PUBLIC)
    way = re.search(r"run (CREATE SCHEMA dop_be;) and end DATABASE_URL with (\S+)", tree.refused(*UPGRADE))
    assert way
    execute(url, way[1])
    tree.environment["DATABASE_URL"] = own = url + way[2]
    tree.run(*UPGRADE)
    tree.run("flask", "db", "check")
    app = make_app(own)
    live: Live = app.extensions["live"]
    live.start()
    until(lambda: app.test_client().get("/readyz").status_code == 200)
    client = app.test_client()
    assert client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN).status_code == 200
    execute(own, "UPDATE system_settings SET maintenance_message = 'from psql'")  # only LISTEN tells of this at once
    until(lambda: client.get("/api/v1/maintenance").get_json()["message"] == "from psql")
    assert tree.attempt("flask", "maintenance", "status")[0] == 1
    assert "from psql" in tree.run("flask", "settings", "history", "--json")
    assert "polling" not in caplog.text  # it hears: where it is deaf it says so
    live.stop()
    tree.run("flask", "db", "downgrade", "base")
    tree.run(*UPGRADE)
    assert "from psql" in tree.run("flask", "settings", "show")
    assert execute(url, PUBLIC) == before
    assert execute(url, "SELECT version_num FROM alembic_version") == [("5e0a11c0ffee",)]
    assert execute(url, "SELECT name FROM customers") == [("the first",)]
