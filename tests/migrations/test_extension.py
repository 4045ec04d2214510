"""The extension uuid-ossp: already there, elsewhere, or not to be had."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url

from tests.postgres import execute
from tests.shared import grant

from .tree import Tree

UPGRADE = ("flask", "db", "upgrade")
CREATE = 'CREATE EXTENSION "uuid-ossp"'
TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
numbers = itertools.count()


@pytest.fixture
def role(server_url: str, url: str) -> Iterator[str]:
    """A role without any right but to connect."""
    name = f"dop_be_role_{os.getpid()}_{next(numbers)}"
    execute(server_url, f"CREATE ROLE {name} LOGIN PASSWORD 'a-password'")
    yield name
    execute(url, f"DROP OWNED BY {name}")
    execute(server_url, f"ALTER DATABASE {make_url(url).database} OWNER TO CURRENT_USER", f"DROP ROLE {name}")


@pytest.fixture
def tree_of_role(role: str, url: str, make_tree: Callable[[str], Tree]) -> Tree:
    given = make_url(url).set(username=role, password="a-password")
    return make_tree(given.render_as_string(hide_password=False))


def assert_migrated(url: str) -> None:
    [(identifier,)] = execute(url, "SELECT id FROM system_settings")
    assert identifier[14] == "4"  # the version digit of a random UUID, RFC 9562 section 4.2


def refused(tree: Tree, *command: str) -> str:
    """The last line of an upgrade, or another command, that failed without a traceback."""
    code, output = tree.attempt(*(command or UPGRADE))
    assert code == 1
    assert "Traceback" not in output
    assert "a-password" not in output
    return output.splitlines()[-1]


@pytest.mark.parametrize("schema", ["public", "Odd schema"])
def test_it_may_be_there_already(postgresql_tree: Tree, url: str, schema: str) -> None:
    execute(url, f'CREATE SCHEMA IF NOT EXISTS "{schema}"', f'{CREATE} SCHEMA "{schema}"')
    postgresql_tree.run(*UPGRADE)
    assert_migrated(url)
    postgresql_tree.run("flask", "db", "check")
    postgresql_tree.run("flask", "db", "downgrade", "base")
    assert execute(url, "SELECT 1 FROM pg_extension WHERE extname = 'uuid-ossp'") == [(1,)]


def test_the_owner_of_the_database_needs_nobody(tree_of_role: Tree, url: str, role: str) -> None:
    execute(url, f"ALTER DATABASE {make_url(url).database} OWNER TO {role}")
    tree_of_role.run(*UPGRADE)
    assert_migrated(url)


def test_a_role_that_may_not_create_it_is_told_the_statement(tree_of_role: Tree, url: str, role: str) -> None:
    execute(url, f"GRANT CREATE ON SCHEMA public TO {role}")
    line = refused(tree_of_role)
    assert f"role {role} lacks CREATE on database {make_url(url).database}" in line
    assert execute(url, TABLES) == [(0,)]
    statement = line.rpartition("in this database: ")[2]
    assert statement == 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp";'
    execute(url, statement)
    tree_of_role.run(*UPGRADE)
    assert_migrated(url)


def test_a_role_that_may_not_use_its_schema_is_told_the_statement(tree_of_role: Tree, url: str, role: str) -> None:
    execute(url, f"GRANT CREATE ON SCHEMA public TO {role}", "CREATE SCHEMA extensions", f"{CREATE} SCHEMA extensions")
    line = refused(tree_of_role)
    assert f"role {role} lacks USAGE on schema extensions" in line
    assert execute(url, TABLES) == [(0,)]
    execute(url, line.rpartition("in this database: ")[2])
    tree_of_role.run(*UPGRADE)
    assert_migrated(url)


@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
def test_the_role_that_runs_the_service_is_told_to_migrate_as_the_other_one(
    tree_of_role: Tree, url: str, role: str, command: str
) -> None:
    tree_of_role.run(*UPGRADE, DATABASE_URL=url)
    if command == "upgrade":
        tree_of_role.add("aaaa00000051", "op.add_column('live_state', sa.Column('n', sa.Integer))")
    grant(url, role)
    line = refused(tree_of_role, "flask", "db", command)
    assert line.endswith(": run migrations as the role that owns the tables, see docs/operations.md")


def test_a_schema_with_an_odd_name_is_quoted(tree_of_role: Tree, url: str, role: str) -> None:
    database = make_url(url).database
    execute(
        url, 'CREATE SCHEMA "Odd schema"', CREATE, f"ALTER DATABASE {database} SET search_path = 'Odd schema', public"
    )
    execute(url, f'GRANT USAGE ON SCHEMA "Odd schema" TO {role}')
    statement = refused(tree_of_role).rpartition("in this database: ")[2]
    assert statement == f'GRANT USAGE, CREATE ON SCHEMA "Odd schema" TO "{role}";'
    execute(url, statement)
    tree_of_role.run(*UPGRADE)


def test_a_role_that_may_not_create_tables_is_told_the_statement(tree_of_role: Tree, url: str, role: str) -> None:
    execute(url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", CREATE)
    line = refused(tree_of_role)
    assert "permission denied for schema public" in line
    execute(url, line.rpartition("in this database: ")[2])
    tree_of_role.run(*UPGRADE)
    assert_migrated(url)
