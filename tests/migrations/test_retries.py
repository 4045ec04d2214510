"""A migration that meets somebody's lock is undone and tried again; after any other error nothing is."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from tests.clock import Clock
from tests.postgres import WAITING, execute
from tests.processes import Popen

from .tree import Tree, until

UPGRADE = ("flask", "db", "upgrade")
OURS = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
MIGRATION_LOCK = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND {OURS}"
WANTED = "SELECT 1 FROM information_schema.columns WHERE column_name = 'wanted'"
VERSION = "SELECT version_num FROM alembic_version"
COUNT = "__import__('os').system('printf x >> calls')"
ALTER = 'op.add_column("system_settings", sa.Column("wanted", sa.Integer()))'
NOWAIT = "op.execute('LOCK TABLE system_settings NOWAIT')"  # meets a lock at once
LIMITS = (
    "op.execute(\"INSERT INTO apart SELECT current_setting('lock_timeout'), current_setting('statement_timeout')\")"
)
AUTOCOMMIT = "with op.get_context().autocommit_block(): "
CONCURRENT_INDEX = 'op.create_index("ix_test", "system_settings", ["updated_by"], postgresql_concurrently=True)'


@contextmanager
def holding(url: str, mode: str = "ACCESS SHARE", table: str = "system_settings") -> Iterator[Callable[[], None]]:
    """Hold a table's lock for the block, or until what this yields is called."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN {mode} MODE")
        yield connection.rollback


def calls(tree: Tree) -> int:
    """How often revisions that begin with COUNT were run."""
    return len((tree.path / "calls").read_text())


def read_to(process: Popen, part: str, times: int = 1) -> str:
    """What a process prints, up to a line with this part."""
    assert process.stdout
    read = ""
    while read.count(part) < times:
        line = process.stdout.readline()
        assert line, f"it ended before {part!r}: {read}"
        read += line
    return read


def sessions(url: str) -> list[tuple[Any, ...]]:
    """Who has locked the settings: process, user, and since when, as the line says it."""
    return execute(
        url,
        "SELECT pid, usename, to_char(xact_start, 'HH24:MI:SS TZ') FROM pg_locks JOIN pg_stat_activity USING (pid)"
        f" WHERE relation = 'system_settings'::regclass AND {OURS}",
    )


def test_a_lock_that_goes_away_is_waited_for_with_the_same_limits_in_each_try(migrated_tree: Tree) -> None:
    """The reader holds it over several tries. Meanwhile no other migration begins."""
    url = migrated_tree.url
    execute(url, "CREATE TABLE apart (lock_timeout text, statement_timeout text)")
    migrated_tree.add("aaaa00000061", f"{COUNT}; {ALTER}; {LIMITS}")
    with holding(url) as release:
        [(process, user, since)] = sessions(url)
        migration = migrated_tree.start(*UPGRADE, MIGRATION_LOCK_TIMEOUT="1", MIGRATION_STATEMENT_TIMEOUT="77")
        read = read_to(migration, "-> aaaa00000061", times=3)
        assert execute(url, MIGRATION_LOCK)
        release()
    rest, _ = migration.communicate()
    assert migration.returncode == 0, read + rest
    [line] = [line for line in (read + rest).splitlines() if "trying again" in line]
    assert line.startswith(
        "INFO  [alembic.dop_be] in revision aaaa00000061: canceling statement due to lock timeout; trying again for"
        f" up to 300 s (MIGRATION_LOCK_WAIT): system_settings is locked by PostgreSQL process {process} of {user} from "
    )
    assert line.endswith(f", since {since}")
    assert execute(url, "TABLE apart") == [("1s", "77s")]
    assert calls(migrated_tree) == (read + rest).count("-> aaaa00000061")
    assert execute(url, VERSION) == [("aaaa00000061",)]


@pytest.mark.parametrize(("mode", "prefix"), [("SHARE", "in revision aaaa00000062: "), ("ACCESS EXCLUSIVE", "")])
def test_a_lock_of_alembics_own_table(migrated_tree: Tree, mode: str, prefix: str) -> None:
    """It is read before the first revision, and written at the end of each."""
    migrated_tree.add("aaaa00000062", ALTER)
    with holding(migrated_tree.url, mode, "alembic_version") as release:
        migration = migrated_tree.start(*UPGRADE, MIGRATION_LOCK_TIMEOUT="1")
        read = read_to(migration, "trying again")
        release()
    rest, _ = migration.communicate()
    assert migration.returncode == 0, read + rest
    line = read.splitlines()[-1]
    assert line.startswith(f"INFO  [alembic.dop_be] {prefix}canceling statement due to lock timeout; trying again for ")
    assert ": alembic_version is locked by PostgreSQL process " in line
    assert execute(migrated_tree.url, VERSION) == [("aaaa00000062",)]


def test_a_lock_that_stays_ends_it_with_one_line_and_nothing_half_done(migrated_tree: Tree) -> None:
    url, head = migrated_tree.url, migrated_tree.head
    migrated_tree.add("aaaa00000063", f"{COUNT}; op.execute('CREATE TABLE begun ()'); {ALTER}")
    with holding(url):
        [(process, *_)] = sessions(url)
        told = migrated_tree.refused(*UPGRADE, MIGRATION_LOCK_TIMEOUT="1", MIGRATION_LOCK_WAIT="3")
    match = re.fullmatch(
        r"in revision aaaa00000063: canceling statement due to lock timeout \(MIGRATION_LOCK_TIMEOUT is 1s\);"
        r" tried for (\d+) s \(MIGRATION_LOCK_WAIT is 3 s\); system_settings is locked by PostgreSQL process"
        rf" {process} of .+, since .+; this revision was undone, and can be run again",
        told,
    )
    assert match, told
    assert int(match[1]) >= 3
    assert calls(migrated_tree) > 1
    assert execute(url, VERSION, WANTED) == []
    assert execute(url, VERSION) == [(head,)]
    assert execute(url, "SELECT to_regclass('begun')") == [(None,)]
    assert execute(url, MIGRATION_LOCK) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("raise RuntimeError('not today')", "not today"),
        ("op.execute('INSERT INTO live_state (singleton, version) VALUES (true, 7)')", "duplicate key"),
        ("op.execute('SELECT pg_sleep(600)')", "statement timeout (MIGRATION_STATEMENT_TIMEOUT is 1s)"),
        ("op.execute(\"DO $$ BEGIN RAISE 'later' USING ERRCODE = '40P01'; END $$\")", "later"),
    ],
    ids=["Python", "unique violation", "query_canceled", "deadlock_detected"],
)
def test_any_other_error_is_not_tried_again(migrated_tree: Tree, statement: str, told: str) -> None:
    migrated_tree.add("aaaa00000064", f"{COUNT}; {statement}")
    assert told in migrated_tree.refused(*UPGRADE, MIGRATION_STATEMENT_TIMEOUT="1")
    assert calls(migrated_tree) == 1


def test_another_error_in_a_second_try_ends_it(migrated_tree: Tree) -> None:
    again = "sa.inspect(op.get_bind()).has_table('again') and op.execute('SELECT 1 / 0')"
    migrated_tree.add("aaaa00000065", f"{COUNT}; {again}; {NOWAIT}")
    with holding(migrated_tree.url):
        migration = migrated_tree.start(*UPGRADE)
        read_to(migration, "trying again")
        execute(migrated_tree.url, "CREATE TABLE again ()")
        rest, _ = migration.communicate()
    assert migration.returncode == 1
    assert "in revision aaaa00000065: division by zero; this revision was undone" in rest
    assert calls(migrated_tree) == 1 + rest.count("-> aaaa00000065")


@pytest.mark.parametrize(("target", "end"), [("head", "aaaa00000068"), ("+2", "aaaa00000067")])
def test_what_was_committed_before_is_not_repeated_and_a_relative_target_stays(
    migrated_tree: Tree, target: str, end: str
) -> None:
    url = migrated_tree.url
    migrated_tree.add("aaaa00000066", f"{COUNT}; op.execute('CREATE TABLE first ()')")
    migrated_tree.add("aaaa00000067", NOWAIT)
    migrated_tree.add("aaaa00000068", "op.execute('CREATE TABLE third ()')")
    with holding(url) as release:
        migration = migrated_tree.start(*UPGRADE, target)
        read_to(migration, "trying again")
        assert execute(url, VERSION) == [("aaaa00000066",)]
        release()
    rest, _ = migration.communicate()
    assert migration.returncode == 0, rest
    assert calls(migrated_tree) == 1
    assert execute(url, VERSION) == [(end,)]


def test_a_downgrade_is_tried_again_too(migrated_tree: Tree) -> None:
    head = migrated_tree.head
    migrated_tree.add("aaaa00000069", "pass", NOWAIT)
    migrated_tree.run(*UPGRADE)
    with holding(migrated_tree.url) as release:
        migration = migrated_tree.start("flask", "db", "downgrade")
        read_to(migration, "trying again")
        release()
    rest, _ = migration.communicate()
    assert migration.returncode == 0, rest
    assert execute(migrated_tree.url, VERSION) == [(head,)]


STAYS = "; what this revision did before and in its autocommit_block stays, so that it is not tried again: "


def test_a_concurrent_index_that_meets_a_lock_is_not_tried_again(migrated_tree: Tree) -> None:
    """The limits of migrations are not in force there; the database has one of its own. An invalid index is left."""
    url, head = migrated_tree.url, migrated_tree.head
    [(name,)] = execute(url, "SELECT current_database()")
    execute(url, f"ALTER DATABASE {name} SET lock_timeout = '300ms'")
    migrated_tree.add("aaaa0000006a", f"{COUNT}\n    {AUTOCOMMIT}{CONCURRENT_INDEX}")
    with holding(url, "ROW EXCLUSIVE"):
        told = migrated_tree.refused(*UPGRADE)
    assert told.startswith(f"in revision aaaa0000006a: canceling statement due to lock timeout{STAYS}")
    assert calls(migrated_tree) == 1
    assert execute(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_test'::regclass") == [(False,)]
    assert execute(url, VERSION) == [(head,)]


def test_a_lock_after_an_autocommit_block(migrated_tree: Tree) -> None:
    """What ran before the block and in it is committed."""
    url, head = migrated_tree.url, migrated_tree.head
    created = "op.execute('CREATE TABLE {} ()')"
    migrated_tree.add(
        "aaaa0000006b",
        f"{COUNT}; {created.format('before')}\n    {AUTOCOMMIT}{created.format('within')}\n"
        f"    {created.format('after')}; {NOWAIT}",
    )
    with holding(url):
        told = migrated_tree.refused(*UPGRADE)
    assert told.startswith(f'in revision aaaa0000006b: could not obtain lock on relation "system_settings"{STAYS}')
    assert calls(migrated_tree) == 1
    assert execute(url, "SELECT to_regclass('before'), to_regclass('within'), to_regclass('after')") == [
        ("before", "within", None)
    ]
    assert execute(url, VERSION) == [(head,)]


def test_a_revision_that_failed_after_its_autocommit_block_is_not_called_undone(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa0000006c", f"{AUTOCOMMIT}{COUNT}\n    op.execute('SELECT 1 / 0')")
    assert f"division by zero{STAYS}" in migrated_tree.refused(*UPGRADE)
    assert calls(migrated_tree) == 1


def test_a_lock_before_an_autocommit_block_is_waited_for(migrated_tree: Tree) -> None:
    """The block is behind it: nothing was committed yet."""
    migrated_tree.add("aaaa0000006d", f"{NOWAIT}\n    {AUTOCOMMIT}{COUNT}; op.execute('CREATE TABLE within ()')")
    with holding(migrated_tree.url) as release:
        migration = migrated_tree.start(*UPGRADE)
        read_to(migration, "trying again")
        release()
    rest, _ = migration.communicate()
    assert migration.returncode == 0, rest
    assert calls(migrated_tree) == 1


def test_ctrl_c_in_a_pause_ends_it_within_a_second(migrated_tree: Tree) -> None:
    """The pause after the fourth try is 2 s long at least."""
    url, head = migrated_tree.url, migrated_tree.head
    migrated_tree.add("aaaa0000006e", f"op.execute('CREATE TABLE begun ()'); {NOWAIT}")
    with holding(url):
        migration = migrated_tree.start(*UPGRADE)
        read_to(migration, "-> aaaa0000006e", times=4)
        until(lambda: not execute(url, WAITING) and execute(url, "SELECT to_regclass('begun')") == [(None,)])
        clock = Clock()
        migration.send_signal(signal.SIGINT)
        rest, _ = migration.communicate(timeout=60)
        assert clock.stop() < 1
    assert migration.returncode == 130
    assert rest == "ERROR [alembic.dop_be] interrupted by SIGINT in revision aaaa0000006e; its transaction was undone\n"
    assert execute(url, VERSION) == [(head,)]
    until(lambda: not execute(url, MIGRATION_LOCK))
