"""With a setting of every type: every check passes, and every test of the settings, none of them edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import processes

from .models import add_settings, revise
from .test_types import COLUMNS
from .tree import ROOT, Tree

TESTS = (
    *("tests/history/test_history.py", "tests/settings/test_models.py", "tests/settings/test_types.py"),
    *("tests/web/test_settings.py", "tests/cli/test_settings.py", "tests/test_columns.py", "tests/test_docs.py"),
)
CHECKS = (
    ("python", "-m", "migrations.lint"),
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
)


@pytest.fixture
def whole_tree(tmp_path: Path, sqlite_url: str, server_url: str) -> Tree:
    """All of the project, with the settings and their revision, the model as an editor leaves it."""
    tree = Tree(shutil.copytree(processes.project(), tmp_path / "whole"), sqlite_url)
    tree.environment["TEST_DATABASE_URL"] = server_url
    add_settings(tree, *COLUMNS)
    tree.run("ruff", "check", "--fix", "--exit-zero", "--quiet", "dop_be/settings/models.py")
    tree.run("ruff", "format", "--quiet", "dop_be/settings/models.py")
    revise(tree, "add settings")
    return tree


def test_every_check_of_make_check_passes(whole_tree: Tree) -> None:
    """Those that the Makefile names, so that none is forgotten here."""
    makefile = (ROOT / "Makefile").read_text()
    for command in CHECKS:
        assert f"$(BIN)/{' '.join(command)}\n" in makefile
        whole_tree.run(*command)


def test_every_test_of_the_settings_passes(whole_tree: Tree) -> None:
    whole_tree.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, PYTHONPATH=""
    )  # it has its own guard
