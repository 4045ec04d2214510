"""`flask db …` and `alembic …`, without any alembic.ini; warnings are errors throughout."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tree import Tree

FLASK, ALEMBIC = ("flask", "db"), ("alembic",)
BOTH = pytest.mark.parametrize("line", [FLASK, ALEMBIC], ids=["flask", "alembic"])


@BOTH
def test_every_command(postgresql_tree: Tree, line: tuple[str, ...]) -> None:
    run = postgresql_tree.run
    output = run(*line, "upgrade", "head")
    head = postgresql_tree.head
    assert "Context impl PostgresqlImpl." in output
    assert "-> 19176e327d47, enable uuid-ossp" in output
    assert "autogenerate plugin" not in output
    assert f"{head} (head)" in run(*line, "current")
    assert "Rev: 19176e327d47\nParent: <base>\n" in run(*line, "history", "--verbose")
    assert run(*line, "heads") == f"{head} (head)\n"
    assert run(*line, "branches") == ""
    assert "No new upgrade operations detected." in run(*line, "check")
    assert "Running downgrade" in run(*line, "downgrade", "4b47f7895f36")
    run(*line, "upgrade", "head")
    run(*line, "stamp", "head")
    assert f"{head} (head)" in run(*line, "current")
    assert "Rev: a3c7ac7bcf42" in run(*line, "show", "a3c7ac7bcf42")
    assert "generic - Generic single-database configuration." in run("alembic", "list_templates")
    assert "flask - Single-database configuration for Flask." in run("flask", "db", "list_templates")


def test_flask_from_elsewhere(tree: Tree, tmp_path: Path) -> None:
    app = str(tree.path / "wsgi.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tree.run("flask", "--app", app, "db", "upgrade", cwd=elsewhere)
    tree.run("flask", "--app", app, "db", "revision", "-m", "from afar", cwd=elsewhere)
    assert tree.run("flask", "--app", app, "db", "heads", cwd=elsewhere) == f"{tree.head} (head)\n"
    assert list(elsewhere.iterdir()) == []


@BOTH
def test_init_makes_an_environment_of_its_own(postgresql_tree: Tree, line: tuple[str, ...]) -> None:
    if line == FLASK:
        postgresql_tree.run("flask", "db", "init", "-d", "other")
    else:
        postgresql_tree.run("alembic", "-c", "other.ini", "init", "other")
    assert (postgresql_tree.path / "other" / "env.py").exists()
    assert (postgresql_tree.path / "other" / "script.py.mako").exists()


def test_current_never_shows_the_password(postgresql_tree: Tree, url: str) -> None:
    with_password = url.replace("@", ":a-password@", 1) if url.count(":") == 2 else url
    for line in (FLASK, ALEMBIC):
        output = postgresql_tree.run(*line, "current", "--verbose", DATABASE_URL=with_password)
        assert "Current revision(s) for postgresql+dop_be://" in output
        assert "a-password" not in output


def test_sql_needs_no_server(postgresql_tree: Tree) -> None:
    sql = postgresql_tree.run(
        "flask", "db", "upgrade", "--sql", "-x", "dialect=postgresql", DATABASE_URL="sqlite:////nowhere/at/all.sqlite3"
    )
    assert "CREATE EXTENSION" in sql
    assert "SET LOCAL lock_timeout = '5s';" in sql


def test_a_new_revision_reminds_its_author(postgresql_tree: Tree) -> None:
    """No database is needed to make one."""
    postgresql_tree.run("flask", "db", "revision", "-m", "add a thing", DATABASE_URL="postgresql://127.0.0.1:1/nothing")
    [file] = (postgresql_tree.path / "migrations" / "versions").glob("*_add_a_thing.py")
    text = file.read_text()
    assert all(word in text for word in ("Compatible:", "Locks:", "Downgrade:", "if_not_exists=True"))
    assert "dop_be" not in text.partition('"""\n\n')[2]
