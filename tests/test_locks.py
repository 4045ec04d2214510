"""Who holds a lock, in words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg2
import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from dop_be.locks import holder, locked

from .clock import eventually
from .failing import LOCK_ROW, engine_of, held
from .postgres import WAITING, Cluster, execute


@contextmanager
def looking(url: str, *statements: str) -> Iterator[Connection]:
    with engine_of(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        LOCK_ROW,
        "UPDATE live_state SET version = version + 1",
        "LOCK TABLE changes IN SHARE MODE",
        "ALTER TABLE api_tokens ADD noted text",
        "LOCK TABLE maintenance_windows IN ACCESS EXCLUSIVE MODE",
    ],
)
def test_the_holder_of_a_lock(postgresql_url: str, statement: str) -> None:
    with looking(postgresql_url) as connection:
        assert holder(connection) is None
        with held(postgresql_url, statement) as pid:
            [(since,)] = execute(
                postgresql_url,
                f"SELECT to_char(xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM pg_stat_activity WHERE pid = {pid}",
            )
            said = f"PostgreSQL process {pid} of {connection.engine.url.username} (psql), since {since} UTC"
            assert holder(connection) == said
        assert said in locked(said)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM system_settings",
        "LOCK TABLE system_settings IN SHARE UPDATE EXCLUSIVE MODE",  # as ANALYZE and VACUUM
        "CREATE TEMPORARY TABLE changes (id integer)",
    ],
)
def test_a_session_in_nobodys_way_is_not_named(postgresql_url: str, statement: str) -> None:
    with held(postgresql_url, statement), looking(postgresql_url) as connection:
        assert holder(connection) is None


def test_of_several_the_first_is_named_and_nobody_that_waits(postgresql_url: str) -> None:
    """Those that wait hold a lock of the table too, and the first of them may have begun before the holder."""
    with ExitStack() as stack:
        victim = stack.enter_context(closing(psycopg2.connect(postgresql_url, application_name="victim")))
        cursor = stack.enter_context(victim.cursor())
        cursor.execute("SET lock_timeout = '60s'")  # its transaction has begun
        connection = stack.enter_context(looking(postgresql_url))
        pid = stack.enter_context(held(postgresql_url, LOCK_ROW, name="first"))
        stack.enter_context(held(postgresql_url, "UPDATE live_state SET version = version + 1", name="second"))
        thread = threading.Thread(target=lambda: cursor.execute(LOCK_ROW))
        thread.start()
        eventually(30, lambda: execute(postgresql_url, WAITING))
        found = holder(connection)
        execute(postgresql_url, f"SELECT pg_terminate_backend({pid}, 10000)")
        thread.join()
    assert found is not None
    assert found.startswith(f"PostgreSQL process {pid} of ")


def test_what_waits_for_the_whole_table_is_in_everybodys_way(postgresql_url: str) -> None:
    """Behind somebody who only reads, such as pg_dump; all others wait behind it."""
    with ExitStack() as stack:
        connection = stack.enter_context(looking(postgresql_url))
        reader = stack.enter_context(closing(psycopg2.connect(postgresql_url)))
        reader.cursor().execute("SELECT 1 FROM system_settings")
        changer = stack.enter_context(closing(psycopg2.connect(postgresql_url, application_name="changer")))
        cursor = stack.enter_context(changer.cursor())
        thread = threading.Thread(target=lambda: cursor.execute("ALTER TABLE system_settings ADD noted text"))
        thread.start()
        eventually(30, lambda: execute(postgresql_url, WAITING))
        found = holder(connection)
        reader.rollback()
        thread.join()
    assert found is not None
    assert "(changer)" in found


def test_a_role_that_sees_less_names_the_holder_without_its_start(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    with held(postgresql_url, LOCK_ROW) as pid, looking(postgresql_url, "SET ROLE pg_signal_backend") as connection:
        assert holder(connection) == f"PostgreSQL process {pid} of {url.username} (psql)"


def test_a_holder_that_is_a_prepared_transaction() -> None:
    """It is no process, and stays until somebody ends it."""
    cluster = Cluster(max_prepared_transactions="2")
    try:
        cluster.start()
        url = cluster.url()
        execute(url, "CREATE TABLE system_settings (id integer)", "INSERT INTO system_settings VALUES (1)")
        with closing(psycopg2.connect(url)) as preparing, preparing.cursor() as cursor:
            cursor.execute(LOCK_ROW)
            cursor.execute("PREPARE TRANSACTION 'forgotten'")
        with looking(url) as connection:
            found = holder(connection)
        execute(url, "ROLLBACK PREPARED 'forgotten'")
    finally:
        cluster.remove()
    assert found is not None
    assert found.startswith("the prepared transaction forgotten of postgres, since ")


def test_a_server_that_does_not_tell_has_no_holder(sqlite_url: str) -> None:
    with engine_of(sqlite_url, poolclass=NullPool).connect() as connection:
        assert holder(connection) is None
