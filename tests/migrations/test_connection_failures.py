"""No connection, told in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from dop_be.failures import UNREADABLE
from tests import processes
from tests.postgres import Cluster, connections_used_up, execute

from .tree import Tree

UPGRADE = ("flask", "db", "upgrade")
BOTH = pytest.mark.parametrize("line", [UPGRADE, ("alembic", "upgrade", "head")], ids=["flask", "alembic"])


def test_a_fatal_error_in_latin_1(postgresql_tree: Tree) -> None:
    """As a server with lc_messages = de_DE answers; here the server quotes what the client's own options say."""
    environment = postgresql_tree.environment | {"PGOPTIONS": os.fsdecode(b"-c caf\xe9=1")}
    done = processes.run(UPGRADE, cwd=postgresql_tree.path, env=environment, check=False)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    # Which of the two, is up to the version of Python.
    said = 'FATAL: unrecognized configuration parameter "café"'
    assert f"{said}; check DATABASE_URL" in line or f"{UNREADABLE}; check DATABASE_URL" in line


@BOTH
def test_no_connection(postgresql_tree: Tree, line: tuple[str, ...]) -> None:
    told = postgresql_tree.refused(*line, DATABASE_URL="postgresql://me:a-password@127.0.0.1:1/nothing")
    assert "Connection refused" in told
    assert told.endswith("; check DATABASE_URL, and that the server is up and has room for two connections")
    assert "a-password" not in told


def test_no_such_database_or_user(postgresql_tree: Tree) -> None:
    url = make_url(postgresql_tree.url)
    wrong = {'database "nowhere"': url.set(database="nowhere"), 'role "nobody_"': url.set(username="nobody_")}
    for words, given in wrong.items():
        told = postgresql_tree.refused(*UPGRADE, DATABASE_URL=given.render_as_string(hide_password=False))
        assert f"FATAL: {words} does not exist; check DATABASE_URL" in told


@pytest.fixture
def password_wanted(cluster: Cluster) -> Iterator[None]:
    """The server wants passwords of the role `dop_be_careful`."""
    [(file,)] = execute(cluster.url(), "SHOW hba_file")
    before = Path(file).read_text()
    Path(file).write_text(f"host all dop_be_careful 127.0.0.1/32 scram-sha-256\n{before}")
    execute(cluster.url(), "CREATE ROLE dop_be_careful LOGIN PASSWORD 'the-right-one'", "SELECT pg_reload_conf()")
    yield
    Path(file).write_text(before)
    execute(cluster.url(), "SELECT pg_reload_conf()", "DROP ROLE dop_be_careful")


@pytest.mark.usefixtures("password_wanted")
def test_a_wrong_password(breakable_url: str, make_tree: Callable[[str], Tree]) -> None:
    wrong = make_url(breakable_url).set(username="dop_be_careful", password="the-wrong-one")
    told = make_tree(wrong.render_as_string(hide_password=False)).refused(*UPGRADE)
    assert 'password authentication failed for user "dop_be_careful"; check DATABASE_URL' in told
    assert "the-wrong-one" not in told


def test_too_many_connections(breakable_url: str, make_tree: Callable[[str], Tree]) -> None:
    tree = make_tree(breakable_url)
    with connections_used_up(breakable_url):
        assert "FATAL: sorry, too many clients already; check DATABASE_URL" in tree.refused(*UPGRADE)


def test_a_connection_that_is_lost_in_a_revision(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa00000045", "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    told = migrated_tree.refused(*UPGRADE)
    assert told.startswith("in revision aaaa00000045: ")
    assert told.endswith("; the connection was lost, and what ran was undone; run it again")
