"""Copies of the project for the command lines."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .tree import Tree, template


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("project"))


@pytest.fixture
def make_tree(project: Path, tmp_path: Path) -> Callable[[str], Tree]:
    """Copies the project, for a database URL."""

    def make(url: str) -> Tree:
        return Tree(shutil.copytree(project, tmp_path / "tree"), url)

    return make


@pytest.fixture
def tree(make_tree: Callable[[str], Tree], empty_database_url: str) -> Tree:
    """On an empty database of either kind."""
    return make_tree(empty_database_url)


@pytest.fixture
def url(empty_postgresql: Callable[..., str]) -> str:
    """An empty PostgreSQL database."""
    return empty_postgresql()


@pytest.fixture
def postgresql_tree(make_tree: Callable[[str], Tree], url: str) -> Tree:
    return make_tree(url)


@pytest.fixture
def migrated_tree(make_tree: Callable[[str], Tree], postgresql_url: str) -> Tree:
    """On a PostgreSQL database that is migrated already."""
    return make_tree(postgresql_url)
