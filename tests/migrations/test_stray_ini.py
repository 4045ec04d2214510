"""An alembic.ini in the root would override pyproject.toml for the plain `alembic` command alone."""

from __future__ import annotations

import pytest

from .tree import Tree

UPGRADE = ("flask", "db", "upgrade")


def test_the_tutorials_alembic_ini_overrides_nothing(postgresql_tree: Tree) -> None:
    """`alembic init alembic` finds one that is there already."""
    assert "already exists, skipping" in postgresql_tree.run("alembic", "init", "alembic")
    assert "-> 19176e327d47, enable uuid-ossp" in postgresql_tree.run("alembic", "upgrade", "head")


@pytest.mark.parametrize("line", [("flask", "db"), ("alembic",)], ids=["flask", "alembic"])
def test_an_alembic_ini_that_overrides_pyproject_is_named(postgresql_tree: Tree, line: tuple[str, ...]) -> None:
    file = postgresql_tree.path / "alembic.ini"
    file.write_text("[alembic]\nsqlalchemy.url = driver://user:pass@localhost/dbname\n")
    told = f"WARNI [alembic.dop_be] {file} overrides pyproject.toml for the plain `alembic` command (sqlalchemy.url): "
    assert postgresql_tree.run(*line, "current").startswith(told + "delete it")
    file.unlink()
    assert "overrides" not in postgresql_tree.run(*line, "current")


def test_the_lint_names_an_alembic_ini_too(postgresql_tree: Tree) -> None:
    (postgresql_tree.path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/alembic\n")
    code, output = postgresql_tree.attempt("python", "-m", "migrations.lint")
    assert code == 1
    assert "alembic.ini overrides pyproject.toml for the plain `alembic` command (script_location)" in output
    assert len(output.splitlines()) == 1
