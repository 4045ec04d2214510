"""Our tables alone: --autogenerate neither drops nor mentions what else is in the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .models import add_settings, revise, run_sql, steps
from .tree import Tree

THEIRS = [
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, UNIQUE (name))",
    "CREATE TABLE spatial_ref_sys (srid INTEGER PRIMARY KEY)",
    "CREATE INDEX customers_by_name ON customers (name)",
    "CREATE VIEW closed AS SELECT is_maintain FROM system_settings",
    "CREATE INDEX theirs_on_ours ON system_settings (updated_by)",
]
THEIRS_ON_POSTGRESQL = [
    "CREATE SCHEMA shop",
    "CREATE TABLE shop.system_settings (id INTEGER)",
    "CREATE SEQUENCE numbers",
    "CREATE TYPE mood AS ENUM ('good')",
    "CREATE TABLE moods (mood mood, place point)",
    "CREATE MATERIALIZED VIEW closed_once AS SELECT is_maintain FROM system_settings",
]
EMAIL = 'support_email: Mapped[str | None] = mapped_column(String(200), doc="For visitors.", info=PUBLIC)'


@pytest.fixture
def shared(make_tree: Callable[[str], Tree], database_url: str) -> Tree:
    """On a database that other programs use as well."""
    run_sql(database_url, *THEIRS, *(THEIRS_ON_POSTGRESQL if database_url.startswith("postgresql") else ()))
    return make_tree(database_url)


def operations(revision: Path) -> list[str]:
    """The operations that a revision calls, in its own order."""
    body = revision.read_text().partition("def upgrade")[2]
    return [line.strip().partition("(")[0] for line in body.splitlines() if "op." in line.partition("(")[0]]


def test_a_revision_names_our_tables_alone(shared: Tree) -> None:
    head = shared.head
    assert "no revision made" in shared.run("flask", "db", "migrate", "-m", "nothing")
    assert shared.head == head
    add_settings(shared, EMAIL)
    assert operations(revise(shared, "add support email")) == ["op.add_column"]
    steps(shared, shared.url, "upgrade", "check")
    run_sql(shared.url, "INSERT INTO customers VALUES (1, 'still here')")


def test_what_a_newer_release_left_behind_disturbs_nobody(make_tree: Callable[[str], Tree], database_url: str) -> None:
    tree = make_tree(database_url)
    run_sql(
        database_url,
        "ALTER TABLE system_settings ADD COLUMN opened_on DATE DEFAULT '2026-01-02' NOT NULL",
        "CREATE TABLE newer (id INTEGER PRIMARY KEY)",
    )
    assert "revision 2: is_maintain" in steps(tree, database_url, "check", "settings set is_maintain=true", "check")
    assert "no revision made" in tree.run("flask", "db", "migrate", "-m", "nothing")
