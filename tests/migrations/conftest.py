"""Copies of the project for the command lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .tree import Tree, copied


@pytest.fixture
def make_tree(tmp_path: Path) -> Iterator[Callable[[str], Tree]]:
    """Copies the project, for a database URL."""
    with ExitStack() as stack:

        def make(url: str) -> Tree:
            tree = Tree(copied(tmp_path / "tree"), url)
            stack.callback(tree.end)
            return tree

        yield make


@pytest.fixture
def tree(make_tree: Callable[[str], Tree], empty_database_url: str) -> Tree:
    """On an empty database of either kind."""
    return make_tree(empty_database_url)


@pytest.fixture
def url(own_postgresql: str) -> str:
    """An empty PostgreSQL database."""
    return own_postgresql


@pytest.fixture
def postgresql_tree(make_tree: Callable[[str], Tree], url: str) -> Tree:
    return make_tree(url)


@pytest.fixture
def migrated_tree(make_tree: Callable[[str], Tree], postgresql_url: str) -> Tree:
    """On a PostgreSQL database that is migrated already."""
    return make_tree(postgresql_url)
