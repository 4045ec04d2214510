"""What an operator has to mend is told in one line: what failed, in which revision, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from sqlalchemy.engine import make_url

from tests.postgres import execute

from .tree import Tree

UPGRADE = ("flask", "db", "upgrade")
BOTH = pytest.mark.parametrize("line", [UPGRADE, ("alembic", "upgrade", "head")], ids=["flask", "alembic"])
RAISE = (
    "op.execute(\"DO $$ BEGIN RAISE EXCEPTION '{text}'"
    " USING ERRCODE = '{code}', DETAIL = 'a row', HINT = 'a hint'; END $$\")"
)


def altered(url: str, what: str) -> None:
    execute(url, f"ALTER DATABASE {make_url(url).database} {what}")


@BOTH
def test_a_read_only_database(postgresql_tree: Tree, line: tuple[str, ...]) -> None:
    altered(postgresql_tree.url, "SET default_transaction_read_only = on")
    told = postgresql_tree.refused(*line)
    assert told.startswith("cannot execute CREATE TABLE in a read-only transaction: ")
    database = make_url(postgresql_tree.url).database
    mended = told.split(", or run ")[1].replace("ALTER ROLE … (or ALTER DATABASE …)", f"ALTER DATABASE {database}")
    execute(postgresql_tree.url, *mended.split("; "))
    postgresql_tree.run(*line)


@pytest.mark.parametrize("path", ["''", "nowhere"])
def test_a_search_path_without_a_schema(postgresql_tree: Tree, path: str) -> None:
    altered(postgresql_tree.url, f"SET search_path = {path}")
    told = postgresql_tree.refused(*UPGRADE)
    assert told.startswith("no schema has been selected to create in: search_path names no schema that exists: ")
    ending = told.split("such as ")[1]
    postgresql_tree.run(*UPGRADE, DATABASE_URL=postgresql_tree.url + ending)


@BOTH
def test_a_failing_statement_names_its_revision_and_no_row(migrated_tree: Tree, line: tuple[str, ...]) -> None:
    migrated_tree.add("aaaa00000041", 'op.execute("INSERT INTO live_state (singleton, version) VALUES (true, 77777)")')
    told = migrated_tree.refused(*line)
    assert told.startswith("in revision aaaa00000041: duplicate key value violates unique constraint ")
    assert told.endswith("; this revision was undone: mend it, or the data or the server that it met, and run it again")
    assert "DETAIL" not in told
    assert "77777" not in told


def test_a_constraint_that_is_checked_at_the_commit(migrated_tree: Tree) -> None:
    """The statement itself succeeds."""
    execute(migrated_tree.url, "CREATE TABLE apart (id integer, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)")
    migrated_tree.add("aaaa00000042", 'op.execute("INSERT INTO apart VALUES (1), (1)")')
    assert "in revision aaaa00000042: duplicate key value" in migrated_tree.refused(*UPGRADE)


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        ("op.execute('SELEC 1')", ['syntax error at or near "SELEC"']),
        ("op.execute('SELECT * FROM nowhere')", ['relation "nowhere" does not exist']),
        # What the server adds is kept, but for rows; a missing extension is told as this server tells it.
        (
            "op.execute('CREATE EXTENSION nothing')",
            ['extension "nothing" is not available', "HINT: The extension must first be ins"],
        ),
        (
            "op.execute('CREATE VIEW seen AS SELECT version FROM live_state'); op.drop_column('live_state', 'version')",
            ["DETAIL: view seen depends on column version", "HINT: Use DROP ... CASCADE"],
        ),
        (
            RAISE.format(text="could not extend file", code="53100"),
            ["could not extend file DETAIL: a row HINT: a hint"],
        ),
        (RAISE.format(text="two\nlines", code="23514"), ["two lines HINT: a hint;"]),
        ("raise RuntimeError('fill in\\nthe names first')", ["fill in the names first"]),
    ],
)
def test_the_servers_words_and_hint_are_kept(migrated_tree: Tree, statement: str, parts: list[str]) -> None:
    migrated_tree.add("aaaa00000043", statement.replace("\n", "\\n"))
    told = migrated_tree.refused(*UPGRADE)
    assert told.startswith("in revision aaaa00000043: ")
    assert [part for part in parts if part not in told] == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_an_error_in_another_encoding(server_url: str, make_tree: Callable[[str], Tree], encoding: str) -> None:
    name = f"dop_be_test_{os.getpid()}_{encoding.lower()}"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    tree = make_tree(make_url(server_url).set(database=name).render_as_string(hide_password=False))
    try:
        tree.run(*UPGRADE)
        tree.add("aaaa00000044", RAISE.format(text="caf%', chr(233) || '", code="P0001"))
        told = tree.refused(*UPGRADE)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")
    assert told.startswith("in revision aaaa00000044: caf")
    assert "HINT: a hint" in told


@BOTH
def test_a_mistake_in_a_revision_keeps_its_traceback_and_names_the_revision_last(
    migrated_tree: Tree, line: tuple[str, ...]
) -> None:
    migrated_tree.add("aaaa00000046", "forgotten()")
    code, output = migrated_tree.attempt(*line)
    assert code == 1
    assert "aaaa00000046_test.py" in output
    *_, name, last = output.splitlines()
    assert name.startswith("NameError: name 'forgotten' is not defined")
    assert last.startswith("in revision aaaa00000046; this revision was undone")


def test_the_servers_words_stay_beside_a_revisions_own(migrated_tree: Tree) -> None:
    migrated_tree.add(
        "aaaa00000047",
        "from alembic.util import CommandError\n    try:\n        op.execute('SELEC 1')\n"
        "    except sa.exc.DBAPIError as error:\n        raise CommandError('ask somebody') from error",
    )
    assert 'syntax error at or near "SELEC": ask somebody' in migrated_tree.refused(*UPGRADE)


AZURE = """
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'extension "uuid-ossp" is not allow-listed for users in Azure Database for PostgreSQL'
    USING ERRCODE = 'feature_not_supported', HINT = 'To learn how to allow an extension, refer to the manual.';
END $$
"""


def test_a_platform_that_refuses_the_extension(postgresql_tree: Tree) -> None:
    """As Azure words it; the rest of what Azure does cannot be had here."""
    trigger = (
        "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION refuse()"
    )
    execute(postgresql_tree.url, AZURE, trigger)
    told = postgresql_tree.refused(*UPGRADE)
    assert told.startswith('in revision 19176e327d47: extension "uuid-ossp" is not allow-listed for users in Azure ')
    assert "HINT: To learn how to allow an extension, refer to the manual." in told
