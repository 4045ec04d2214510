"""Copies of the project for the command lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .tree import Tree


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[[str], Tree]:
    """Copies the project, for a database URL."""

    def make(url: str) -> Tree:
        path = tmp_path / "tree"
        path.mkdir()
        return Tree(path, url)

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
