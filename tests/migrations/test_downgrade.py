"""A downgrade removes functions and triggers, never rows; the upgrade takes tables and columns as it finds them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, inspect, text

from tests.conftest import ADMIN
from tests.postgres import execute

from .models import add_model, add_settings, revise, run_sql, steps
from .tree import Tree


def rows(app: Flask) -> dict[str, list[Any]]:
    """Everything in every table."""
    engine = create_engine(app.config["SQLALCHEMY_DATABASE_URI"])
    with engine.connect() as connection:
        found = {name: table(connection, name) for name in sorted(inspect(connection).get_table_names())}
    engine.dispose()
    return found


def table(connection: Connection, name: str) -> list[Any]:
    return sorted((dict(row) for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()), key=repr)


def test_downgrade_to_base_and_up_again_keeps_every_row(app: Flask) -> None:
    client = app.test_client()
    change = {"active": True, "mode": "read_only", "message": "back soon"}
    assert client.put("/api/v1/maintenance", json=change, headers=ADMIN).status_code == 200
    before = rows(app)
    with app.app_context():
        flask_migrate.downgrade(revision="base")
        kept = rows(app)
        flask_migrate.upgrade()
        after = rows(app)
    assert kept.pop("alembic_version") == []
    assert kept == {name: found for name, found in before.items() if name != "alembic_version"}
    assert after["live_state"][0].pop("version") >= before["live_state"][0].pop("version")
    assert after == before
    assert after["system_settings"][0]["is_maintain"]
    app.extensions["live"].refresh()
    assert client.get("/api/v1/maintenance").get_json()["message"] == "back soon"


def test_sql_for_another_hand_goes_down_and_up_again(migrated_tree: Tree) -> None:
    url = migrated_tree.url
    before = execute(url, "SELECT id FROM system_settings")
    apply(migrated_tree, migrated_tree.run("flask", "db", "downgrade", "--sql", "head:base"))
    execute(url, "DROP TABLE alembic_version")
    assert execute(url, "SELECT id FROM system_settings") == before
    apply(migrated_tree, migrated_tree.run("flask", "db", "upgrade", "--sql"))
    assert execute(url, "SELECT id FROM system_settings") == before
    migrated_tree.run("flask", "db", "check")


def apply(tree: Tree, output: str) -> None:
    """Run what --sql printed through psql."""
    sql = "\n".join(line for line in output.splitlines() if not line.startswith("INFO "))
    (tree.path / "release.sql").write_text(sql)
    tree.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", "release.sql", tree.url)


@pytest.fixture
def older(make_tree: Callable[[str], Tree], database_url: str) -> Tree:
    return make_tree(database_url)


@pytest.fixture
def newer(older: Tree, tmp_path: Path) -> Tree:
    """The next release, with two more settings and a table, in the database after it."""
    tree = Tree(shutil.copytree(older.path, tmp_path / "newer"), older.url)
    add_model(
        tree,
        "class Thing(Base):\n    __tablename__ = 'things'\n\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n    name: Mapped[str] = mapped_column(index=True)\n",
    )
    add_settings(
        tree,
        'support_email: Mapped[str | None] = mapped_column(String(200), doc="For visitors.", info=PUBLIC)',
        'seats: Mapped[int] = mapped_column(server_default=text("10"), doc="How many.", info=PUBLIC)',
    )
    text = revise(tree, "add things").read_text().partition("def upgrade")[2]
    assert text.count("if_not_exists=True") == 4
    assert "drop_table" not in text
    assert "drop_column" not in text
    steps(tree, tree.url, "upgrade", "settings set support_email=help@example.com seats=7", "check")
    run_sql(tree.url, "INSERT INTO things (id, name) VALUES (1, 'one')")
    return tree


def test_the_older_release_works_beside_what_a_downgrade_left_and_the_newer_one_finds_it(
    older: Tree, newer: Tree
) -> None:
    steps(newer, newer.url, "downgrade")
    shown = steps(older, older.url, "check", "settings set is_maintain=true", "settings show")
    assert "support_email" not in shown
    assert "no revision made" in older.run("flask", "db", "migrate", "-m", "nothing")
    shown = steps(newer, newer.url, "upgrade", "check", "settings show", "settings history")
    assert re.search(r"^support_email +help@example.com$", shown, re.MULTILINE)
    assert re.search(r"^seats +7$", shown, re.MULTILINE)
    assert run_sql(newer.url, "SELECT name FROM things") == [("one",)]


def test_a_row_inserted_anew_by_the_older_release_takes_the_defaults_of_what_was_left(older: Tree, newer: Tree) -> None:
    steps(newer, newer.url, "downgrade")
    run_sql(older.url, "DELETE FROM system_settings", "INSERT INTO system_settings (is_maintain) VALUES (true)")
    assert re.search(r"^seats +10$", steps(newer, newer.url, "upgrade", "settings show"), re.MULTILINE)


EVERY_KIND = [
    "flag: Mapped[bool | None] = mapped_column()",
    "seats: Mapped[int] = mapped_column(server_default=text('10'))",
    "ratio: Mapped[float] = mapped_column(server_default=text('0.5'))",
    "price: Mapped[Decimal | None] = mapped_column(ExactNumeric(10, 2))",
    "day: Mapped[date | None] = mapped_column()",
    "at: Mapped[datetime | None] = mapped_column(UtcDateTime)",
    "motd: Mapped[str | None] = mapped_column(String(80))",
]


def test_every_setting_that_there_was_when_the_record_began_again_is_restored(older: Tree) -> None:
    """They were changed while nothing was recorded, by a session that prints fewer digits."""
    add_settings(older, *EVERY_KIND)
    steps(older, older.url, "upgrade")
    revise(older, "add settings of every kind")
    shown = "flag=true price=12.50 day=2026-02-03 at=2026-02-03T04:05:06.789Z motd=kept"
    steps(older, older.url, "upgrade", f"settings set {shown}")
    older.run("flask", "db", "downgrade", "4b47f7895f36")
    name = older.url.rpartition("/")[2]
    if older.url.startswith("postgresql"):
        execute(older.url, f'ALTER DATABASE "{name}" SET extra_float_digits = 0')
    run_sql(older.url, "UPDATE system_settings SET ratio = 0.30000000000000004, seats = 7, revision = 3")
    steps(older, older.url, "upgrade")
    if older.url.startswith("postgresql"):
        execute(older.url, f'ALTER DATABASE "{name}" RESET extra_float_digits')
    before = steps(older, older.url, "settings show")
    changed = "flag=null seats=8 ratio=1 price=1 day=null at=null motd=null"
    steps(older, older.url, f"settings set {changed}", "settings restore 3")
    after = steps(older, older.url, "settings show")
    assert "0.30000000000000004" in after
    other = re.compile(r"^(revision|updated_).*\n", re.MULTILINE)
    assert other.sub("", after) == other.sub("", before)
