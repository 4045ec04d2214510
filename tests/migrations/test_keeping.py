"""No silent loss: what a downgrade takes away, the next upgrade brings back."""

from __future__ import annotations

from typing import Any

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, inspect, text

from tests.conftest import ADMIN
from tests.postgres import execute

from .tree import Tree

MODEL = "    # The compare-and-set:"
SETTING = """    support_email: Mapped[str | None] = mapped_column(String(200), doc="For visitors.", info=PUBLIC)

"""


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
    assert {name for name in kept if not name.endswith("_kept")} == set()
    assert after["live_state"][0].pop("version") >= before["live_state"][0].pop("version")
    assert after == before
    assert after["system_settings"][0]["is_maintain"]
    app.extensions["live"].refresh()
    assert client.get("/api/v1/maintenance").get_json()["message"] == "back soon"


def test_sql_for_another_hand_takes_back_what_a_downgrade_kept(migrated_tree: Tree) -> None:
    url = migrated_tree.url
    [(identifier,)] = execute(url, "SELECT id FROM system_settings")
    apply(migrated_tree, migrated_tree.run("flask", "db", "downgrade", "--sql", "head:base"))
    execute(url, "DROP TABLE alembic_version")
    assert execute(url, "SELECT id FROM system_settings_kept") == [(identifier,)]
    apply(migrated_tree, migrated_tree.run("flask", "db", "upgrade", "--sql"))
    assert execute(url, "SELECT id FROM system_settings") == [(identifier,)]
    migrated_tree.run("flask", "db", "check")


def apply(tree: Tree, output: str) -> None:
    """Run what --sql printed through psql."""
    sql = "\n".join(line for line in output.splitlines() if not line.startswith("INFO "))
    (tree.path / "release.sql").write_text(sql)
    tree.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", "release.sql", tree.url)


@pytest.fixture
def tree_with_setting(tree: Tree) -> Tree:
    """Migrated, with a setting added to the model and its revision written by --autogenerate."""
    tree.run("flask", "db", "upgrade")
    models = tree.path / "dop_be" / "settings" / "models.py"
    models.write_text(models.read_text().replace(MODEL, SETTING + MODEL))
    tree.run("flask", "db", "revision", "--autogenerate", "-m", "add support email")
    return tree


def test_autogenerate_writes_a_setting_that_survives_a_downgrade(tree_with_setting: Tree) -> None:
    tree = tree_with_setting
    [file] = (tree.path / "migrations" / "versions").glob("*_add_support_email.py")
    assert "op.add_kept_column('system_settings', sa.Column('support_email'" in file.read_text()
    assert "op.keep_column('system_settings', 'support_email')" in file.read_text()
    tree.run("flask", "db", "upgrade")
    tree.run("flask", "settings", "set", "support_email=help@example.com")
    tree.run("flask", "db", "downgrade")
    tree.run("flask", "db", "upgrade")
    assert "help@example.com" in tree.run("flask", "settings", "show")
    tree.run("flask", "db", "check")


def test_sql_for_another_hand_takes_back_a_column(migrated_tree: Tree) -> None:
    before = migrated_tree.head
    migrated_tree.add(
        "aaaa00000031",
        'op.add_kept_column("system_settings", sa.Column("a b", sa.String(9)))',
        'op.keep_column("system_settings", "a b")',
    )
    run = migrated_tree.run
    for times in range(2):
        apply(migrated_tree, run("flask", "db", "upgrade", "--sql", f"{before}:head"))
        value = [(None,), ("kept",)][times]
        assert execute(migrated_tree.url, 'SELECT "a b" FROM system_settings') == [value]
        execute(migrated_tree.url, """UPDATE system_settings SET "a b" = 'kept'""")
        apply(migrated_tree, run("flask", "db", "downgrade", "--sql", f"head:{before}"))


def test_autogenerate_makes_no_empty_revision_and_does_not_touch_what_is_kept(migrated_tree: Tree) -> None:
    head = migrated_tree.head
    execute(
        migrated_tree.url,
        "CREATE TABLE tokens_kept (id INTEGER)",
        "ALTER TABLE system_settings ADD COLUMN colour_kept VARCHAR(9)",
    )
    assert "no revision made" in migrated_tree.run("flask", "db", "migrate", "-m", "nothing")
    assert migrated_tree.head == head


def test_autogenerate_writes_a_table_that_survives_a_downgrade(migrated_tree: Tree) -> None:
    tree = migrated_tree
    with (tree.path / "dop_be" / "version.py").open("a") as models:
        models.write(
            "\n\nclass Thing(Base):\n    __tablename__ = 'things'\n\n"
            "    id: Mapped[int] = mapped_column(primary_key=True)\n    name: Mapped[str] = mapped_column(index=True)\n"
        )
    tree.run("flask", "db", "revision", "--autogenerate", "-m", "add things")
    [file] = (tree.path / "migrations" / "versions").glob("*_add_things.py")
    assert "op.create_kept_table('things'" in file.read_text()
    assert "op.keep_table('things')" in file.read_text()
    for command in ("upgrade", "downgrade", "upgrade", "check"):
        tree.run("flask", "db", command)
