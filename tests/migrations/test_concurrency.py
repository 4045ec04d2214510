"""Several migrations at once, and migrations that are killed."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from tests import processes
from tests.ports import free_port
from tests.postgres import execute, unprivileged

from .tree import Tree, until

UPGRADE = ("flask", "db", "upgrade")
OURS = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
LOCKS = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND {OURS}"
CONCURRENT_INDEX = """with op.get_context().autocommit_block():
        op.create_index("ix_test", "system_settings", ["updated_by"], postgresql_concurrently=True)"""
SLEEP = 'op.execute("SELECT pg_sleep(600)")'


def assert_one_ran(answers: list[tuple[int, str]], revision: str) -> None:
    """All succeeded, and only one of them ran the revision."""
    assert [output for code, output in answers if code != 0] == []
    assert sum(f"-> {revision}," in output for _, output in answers) == 1


def test_eight_at_once_on_an_empty_database(tree: Tree) -> None:
    assert_one_ran(tree.at_once(8, *UPGRADE), tree.head)
    assert tree.run("flask", "db", "current").splitlines()[-1] == f"{tree.head} (head)"


def test_eight_at_once_with_a_data_only_revision(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa00000001", 'op.execute("UPDATE live_state SET version = version + 1000")')
    [(before,)] = execute(migrated_tree.url, "SELECT version FROM live_state")
    assert_one_ran(migrated_tree.at_once(8, *UPGRADE), "aaaa00000001")
    [(after,)] = execute(migrated_tree.url, "SELECT version FROM live_state")
    assert 1000 <= after - before < 2000


def test_eight_at_once_with_a_concurrent_index(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa00000002", CONCURRENT_INDEX)
    assert_one_ran(migrated_tree.at_once(8, *UPGRADE), "aaaa00000002")
    assert execute(migrated_tree.url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_test'::regclass") == [
        (True,)
    ]


@pytest.fixture
def pooled_url(url: str) -> Iterator[str]:
    """The same database through PgBouncer in transaction mode, with four connections to the server."""
    program = shutil.which("pgbouncer", path=processes.environment()["PATH"])
    assert program, "PgBouncer is not installed: run `make system`"
    target, port, folder = make_url(url), free_port(), Path(tempfile.mkdtemp(prefix="dop_be-pgbouncer-"))
    configuration, users = folder / "pgbouncer.ini", folder / "users"
    users.write_text(f'"{target.username}" "{target.password or ""}"\n')
    configuration.write_text(
        f"[databases]\n* = host={target.host} port={target.port or 5432}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 4\n"
    )
    folder.chmod(0o755)  # PgBouncer refuses root, and runs as somebody else
    process = processes.start([program, "-q", configuration], **unprivileged())
    through = target.set(port=port).render_as_string(hide_password=False)
    try:
        until(lambda: answers(through))
        yield through
    finally:
        processes.end(process)
        shutil.rmtree(folder)


def answers(url: str) -> bool:
    try:
        return execute(url, "SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


def session(connection: Any) -> tuple[int, list[str]]:
    """The server process behind a pooled connection, and the settings that differ from what they are by default."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        process = cursor.fetchone()[0]
        # PgBouncer itself hands on the application_name that a client connects with.
        cursor.execute(
            "SELECT name FROM pg_settings WHERE source = 'session' AND setting <> reset_val"
            " AND (name, setting) <> ('application_name', 'dop_be')"
        )
        return process, [name for (name,) in cursor.fetchall()]


def test_eight_at_once_through_a_pooler_leave_nothing_in_its_connections(
    url: str, pooled_url: str, make_tree: Callable[[str], Tree]
) -> None:
    tree = make_tree(pooled_url)
    tree.add("aaaa00000003", CONCURRENT_INDEX)
    assert_one_ran(tree.at_once(8, *UPGRADE), "aaaa00000003")
    assert execute(url, "SELECT version_num FROM alembic_version") == [("aaaa00000003",)]
    assert execute(url, LOCKS) == []
    held = [psycopg2.connect(pooled_url) for _ in range(4)]  # open transactions: each has a server process of its own
    try:
        sessions = dict(session(connection) for connection in held)
    finally:
        for connection in held:
            connection.close()
    assert len(sessions) == 4
    assert [names for names in sessions.values() if names] == []


def test_a_waiting_migration_says_for_whom_and_gives_up(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa00000004", SLEEP)
    first = migrated_tree.start(*UPGRADE)
    until(lambda: execute(migrated_tree.url, LOCKS))
    [(process,)] = execute(migrated_tree.url, LOCKS)
    code, output = migrated_tree.attempt(*UPGRADE, MIGRATION_LOCK_WAIT="1")
    first.kill()
    first.communicate()
    assert code == 1
    holder = f"migration on {socket.gethostname()[:36]}, process {first.pid}: PostgreSQL process {process} of "
    assert f"waiting for {holder}" in output
    assert f"gave up waiting for {holder}" in output
    assert "MIGRATION_LOCK_WAIT" in output
    assert "Traceback" not in output


def statements(url: str, part: str) -> list[tuple[Any, ...]]:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return execute(url, f"SELECT pid {others} AND query ILIKE '%{part}%'")


@pytest.mark.parametrize(("upgrade", "running"), [(SLEEP, "pg_sleep"), (CONCURRENT_INDEX, "INDEX CONCURRENTLY")])
def test_a_killed_migration_leaves_neither_lock_nor_statement(migrated_tree: Tree, upgrade: str, running: str) -> None:
    """Not even one that waits for somebody else: an open transaction holds the concurrent index up."""
    url = migrated_tree.url
    if execute(url, "SELECT 1 FROM pg_settings WHERE name = 'client_connection_check_interval'") == []:
        pytest.skip("PostgreSQL 13 notices a killed client only when its statement has ended")
    migrated_tree.add("aaaa00000005", upgrade)
    blocker = psycopg2.connect(url)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE system_settings IN ROW EXCLUSIVE MODE")
    try:
        migration = migrated_tree.start(*UPGRADE)
        until(lambda: statements(url, running))
        migration.kill()
        migration.communicate()
        until(lambda: not statements(url, running))
        until(lambda: not execute(url, LOCKS))
    finally:
        blocker.close()
    assert execute(url, "SELECT version_num FROM alembic_version") != [("aaaa00000005",)]
