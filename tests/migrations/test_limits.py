"""What keeps a migration from blocking production."""

from __future__ import annotations

import time

import psycopg2
import pytest

from tests.postgres import WAITING, execute

from .tree import Tree, until

UPGRADE = ("flask", "db", "upgrade")
ALTER = 'op.add_column("system_settings", sa.Column("wanted", sa.Integer()))'


def test_a_reader_is_not_queued_behind_a_waiting_alter_for_longer_than_the_limit(migrated_tree: Tree) -> None:
    """A long transaction holds the table, the migration waits for it, and a reader who comes later waits for both."""
    url = migrated_tree.url
    migrated_tree.add("aaaa00000011", ALTER)
    holder = psycopg2.connect(url)
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE system_settings IN ACCESS SHARE MODE")
    try:
        migration = migrated_tree.start(*UPGRADE, MIGRATION_LOCK_TIMEOUT="2", MIGRATION_LOCK_WAIT="1")
        until(lambda: execute(url, WAITING))
        began = time.monotonic()
        assert execute(url, "SET statement_timeout = '60s'", "SELECT count(*) FROM system_settings") == [(1,)]
        waited = time.monotonic() - began
        output, _ = migration.communicate()
    finally:
        holder.close()
    assert waited < 2 + 10  # without the limit it would be the holder's time: for ever, ended by the 60 s above
    assert migration.returncode == 1
    assert "canceling statement due to lock timeout (MIGRATION_LOCK_TIMEOUT is 2s); tried for " in output
    assert "; this revision was undone, and can be run again" in output
    assert "Traceback" not in output
    assert migrated_tree.run(*UPGRADE).count("-> aaaa00000011,") == 1  # nothing is in the way of running it again


def test_a_runaway_statement_ends_and_undoes_its_revision(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa00000012", f"{ALTER}; op.execute('SELECT pg_sleep(600)')")
    code, output = migrated_tree.attempt(*UPGRADE, MIGRATION_STATEMENT_TIMEOUT="1")
    assert code == 1
    assert "statement timeout (MIGRATION_STATEMENT_TIMEOUT is 1s); this revision was undone" in output
    assert "Traceback" not in output
    assert execute(migrated_tree.url, "SELECT 1 FROM information_schema.columns WHERE column_name = 'wanted'") == []


def test_what_a_database_sets_against_idling_does_not_end_a_migration(migrated_tree: Tree) -> None:
    """The connection that holds the migration lock idles while the migrations run on the other."""
    name = execute(migrated_tree.url, "SELECT current_database()")[0][0]
    execute(
        migrated_tree.url,
        f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'",
        f"ALTER DATABASE {name} SET statement_timeout = '200ms'",
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'",
    )
    migrated_tree.add("aaaa00000013", "op.execute('SELECT pg_sleep(1)')")
    assert "-> aaaa00000013," in migrated_tree.run(*UPGRADE)


@pytest.mark.parametrize("name", ["MIGRATION_LOCK_WAIT", "MIGRATION_LOCK_TIMEOUT", "MIGRATION_STATEMENT_TIMEOUT"])
def test_a_wrong_limit_is_named(migrated_tree: Tree, name: str) -> None:
    migrated_tree.environment[name] = "soon"
    code, output = migrated_tree.attempt("alembic", "upgrade", "head")
    assert code == 2
    assert len(output.splitlines()) == 1
    assert name in output
