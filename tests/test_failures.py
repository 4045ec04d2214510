"""What is said of the errors of real databases, and of servers that answer in other languages."""

from __future__ import annotations

import errno
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dop_be import sentences, sqlite
from dop_be.deadline import time_limit
from dop_be.errors import DatabaseReadOnly, DatabaseUnavailable, InvalidInput
from dop_be.failures import explain, explain_in_full, lacks_schema, refusal, unavailable, waited_for_lock
from dop_be.locks import holder, locked

from . import shared
from .answering import answering, port_of, starting_up
from .clock import eventually
from .conftest import ADMIN
from .guard import sitecustomize as guard
from .postgres import WAITING, Cluster, connections_used_up, execute

DRIVER = "postgresql+psycopg2"
ROW = "UPDATE system_settings SET maintenance_message = 'changed'"
LOCK_ROW = "SELECT 1 FROM system_settings FOR UPDATE"
# What a server says before it closes the connection, in its own language and encoding: the database is starting up.
FOREIGN = {
    "english": ("FATAL", "the database system is starting up", "ascii", sentences.STARTING),
    "german": ("FATAL", "das Datenbanksystem fährt hoch", "latin-1", sentences.REFUSED),
    "russian": ("ВАЖНО", "система баз данных запускается", "koi8-r", sentences.REFUSED),
    "japanese": ("FATAL", "データベースシステムは起動処理中です", "euc_jp", sentences.REFUSED),
    "chinese": ("致命错误", "数据库系统启动中", "utf-8", sentences.REFUSED),
}


def engine_of(url: str | URL, **options: Any) -> Engine:
    given = make_url(url)
    return create_engine(given if given.drivername == "sqlite" else given.set(drivername=DRIVER), **options)


def failing(url: str | URL, *statements: str) -> Exception:
    """The error of the last statement, or of connecting where there is none."""
    engine = engine_of(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        connection: Connection | None = None
        if statements:
            connection = stack.enter_context(engine.connect())
            for statement in statements[:-1]:
                connection.exec_driver_sql(statement)
        with pytest.raises((SQLAlchemyError, UnicodeDecodeError)) as caught:
            connection.exec_driver_sql(statements[-1]) if connection else engine.connect()
    return caught.value


@contextmanager
def held(url: str, *statements: str, name: str = "psql") -> Iterator[int]:
    """Another session's open transaction, for the block; its process."""
    with closing(psycopg2.connect(url, application_name=name)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield connection.get_backend_pid()


def test_every_sentence_is_one_and_no_two_are_the_same() -> None:
    said = [value for name, value in vars(sentences).items() if name.isupper() and isinstance(value, str)]
    said += {sentence.format("") for sentence in sentences.BY_SQLITE.values()}
    assert len(said) > 40
    for sentence in said:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "\n" not in sentence
    assert len(set(said)) == len(said)


# Statements


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (["SET default_transaction_read_only = on", ROW], sentences.READ_ONLY),
        (["ALTER TABLE system_settings RENAME maintenance_message TO elsewhere", ROW], sentences.NOT_MIGRATED),
        (["DROP TABLE system_settings CASCADE", ROW], sentences.NOT_MIGRATED),
        (["SET ROLE pg_monitor", ROW], sentences.NO_PRIVILEGE),
        (["SET statement_timeout = 50", "SELECT pg_sleep(30)"], sentences.SLOW),
        (["SELECT pg_cancel_backend(pg_backend_pid())"], sentences.CANCELLED),
        (["SELECT 1 / 0"], sentences.FAILED),
    ],
)
def test_a_statement(postgresql_url: str, statements: list[str], sentence: str) -> None:
    error = failing(postgresql_url, *statements)
    assert explain(error) == sentence, error


@pytest.mark.parametrize(
    ("code", "sentence"),
    {
        "40001": sentences.CONFLICT,
        "40P01": sentences.CONFLICT,
        "53100": sentences.DISK_FULL,
        "53200": sentences.OUT_OF_MEMORY,
        "53300": sentences.OUT_OF_CONNECTIONS,
        "53400": sentences.OUT_OF_RESOURCES,
        "57P01": sentences.STOPPING,
        "57P02": sentences.CRASHED,
        "57P03": sentences.STARTING,
        "58030": sentences.BROKEN,
        "XX001": sentences.BROKEN,
        "08P01": sentences.LOST,  # as PgBouncer says it
    }.items(),
)
def test_a_statement_that_meets_what_cannot_be_had_here(postgresql_url: str, code: str, sentence: str) -> None:
    error = failing(postgresql_url, f"DO $$ BEGIN RAISE EXCEPTION 'said privately' USING ERRCODE = '{code}'; END $$")
    assert explain(error) == sentence


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_wait_for_the_row_is_told_with_the_holder(postgresql_url: str, limit: str) -> None:
    with held(postgresql_url, LOCK_ROW):
        error = failing(postgresql_url, f"SET {limit} = 50", ROW)
    assert waited_for_lock(error)
    assert explain(error) == sentences.LOCKED
    told = unavailable(error, "PostgreSQL process 4711 of alice (psql), since 12:03:04 UTC")
    assert told.code == "database_unavailable"
    assert told.detail == (
        "Another session holds a lock on the settings: PostgreSQL process 4711 of alice (psql), since 12:03:04 UTC;"
        " end its transaction, or try again when it has ended."
    )


def test_a_deadlock_or_a_missing_column_is_no_wait(postgresql_url: str) -> None:
    error = failing(postgresql_url, "SELECT no_such_column FROM system_settings")
    assert not waited_for_lock(error)
    assert lacks_schema(error)


def test_a_connection_that_was_ended_meanwhile(postgresql_url: str) -> None:
    with engine_of(postgresql_url, poolclass=NullPool).connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        execute(postgresql_url, f"SELECT pg_terminate_backend({pid}, 10000)")
        with pytest.raises(SQLAlchemyError) as caught:
            connection.exec_driver_sql("SELECT 1")
        # Which, is up to what libpq reads before it writes.
        assert explain(caught.value) in {sentences.STOPPING, sentences.LOST}
        connection.invalidate()


def test_a_pool_that_is_used_up(postgresql_url: str) -> None:
    engine = engine_of(postgresql_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(SQLAlchemyError) as caught:
        engine.connect()
    engine.dispose()
    assert explain(caught.value) == sentences.OUT_OF_POOL


# Who holds a lock


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


# Connections


@pytest.fixture
def careful(cluster: Cluster, breakable_url: str) -> Iterator[URL]:
    """A role that the server wants a password of, or refuses, and other ways not to get in."""
    [(file,)] = execute(cluster.url(), "SHOW hba_file")
    before = Path(file).read_text()
    rules = "host all careful 127.0.0.1/32 scram-sha-256\nhost all unwanted 127.0.0.1/32 reject\n"
    Path(file).write_text(f"{rules}local all nobody trust\n{before}")
    roles = ("careful", "unwanted", "unable", "limited")
    execute(
        cluster.url(),
        *(f"CREATE ROLE {name} LOGIN PASSWORD 'the-right-one'" for name in roles),
        "ALTER ROLE unable NOLOGIN",
        "ALTER ROLE limited CONNECTION LIMIT 0",
        "SELECT pg_reload_conf()",
    )
    yield make_url(breakable_url)
    Path(file).write_text(before)
    execute(cluster.url(), "SELECT pg_reload_conf()", *(f"DROP ROLE {name}" for name in roles))


@pytest.mark.parametrize(
    ("user", "password", "sentence"),
    [
        ("careful", "the-wrong-one", sentences.NOT_ACCEPTED),
        ("careful", None, sentences.NOT_ACCEPTED),
        ("nobody at all", None, sentences.NO_ROLE),
        ("unwanted", None, sentences.NOT_IN_HBA),
        ("unable", None, sentences.NO_LOGIN),
        ("limited", None, sentences.OUT_OF_CONNECTIONS),
    ],
)
def test_a_role_that_does_not_get_in(careful: URL, user: str, password: str | None, sentence: str) -> None:
    assert explain(failing(careful.set(username=user, password=password))) == sentence


def test_a_database_that_does_not_take_the_connection(careful: URL, cluster: Cluster) -> None:
    assert explain(failing(careful.set(database="starting up"))) == sentences.NO_DATABASE
    closed = ("CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    execute(cluster.url(), *closed)
    try:
        url = careful.set(username="careful", password="the-right-one", database="closed")
        assert explain(failing(url)) == sentences.NO_CONNECT
        execute(cluster.url(), "ALTER DATABASE closed ALLOW_CONNECTIONS false")
        assert explain(failing(careful.set(database="closed"))) == sentences.CLOSED
    finally:
        execute(cluster.url(), "DROP DATABASE closed")


def test_no_connection_left(breakable_url: str) -> None:
    with connections_used_up(breakable_url):
        error = failing(breakable_url)
    assert explain(error) == sentences.OUT_OF_CONNECTIONS


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("target_session_attrs=standby", sentences.WRONG_KIND),
        ("target_session_attrs=read-only", sentences.WRONG_KIND),
        ("target_session_attrs=read-write&options=-cdefault_transaction_read_only%3Don", sentences.NO_PRIMARY),
        ("sslmode=require", sentences.NO_TLS),
        ("options=-csearch%3Don", sentences.REFUSED),
    ],
)
def test_a_server_that_is_not_as_the_url_wants_it(breakable_url: str, query: str, sentence: str) -> None:
    assert explain(failing(f"{breakable_url}?{query}")) == sentence


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain(failing("postgresql://me@127.0.0.1:1/db")) == sentences.NOTHING_LISTENS
    assert explain(failing(f"postgresql://me@/db?host={tmp_path}&port=1")) == sentences.NOTHING_LISTENS
    monkeypatch.setattr(guard, "servers", {*guard.servers, "name..invalid:1"})  # no name that a resolver is asked for
    assert explain(failing("postgresql://me@name..invalid:1/db")) == sentences.NO_HOST


def test_errors_of_a_socket_mean_the_same() -> None:
    assert explain(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")) == sentences.NOTHING_LISTENS
    assert explain(OSError(errno.EHOSTUNREACH, "No route to host")) == sentences.UNREACHABLE
    assert explain(TimeoutError("timed out")) == sentences.NO_ANSWER
    assert explain(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == sentences.NO_HOST


def test_a_server_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, time_limit(0.2):
        error = failing(f"postgresql://me@127.0.0.1:{port_of(listener)}/db")
    assert explain(error) == sentences.NO_ANSWER


def test_a_server_that_hangs_up() -> None:
    with answering(b"") as url:
        assert explain(failing(f"{url}?sslmode=disable")) == sentences.LOST


def test_tls_that_does_not_come_about() -> None:
    with answering(b"S", b"no TLS at all") as url:
        assert explain(failing(f"{url}?sslmode=require")) == sentences.TLS_FAILED
        missing = f"{url}?sslmode=verify-full&sslrootcert=/nowhere/root.crt"
        assert explain(failing(missing)) == sentences.CERTIFICATE


@pytest.mark.parametrize(("severity", "message", "encoding", "sentence"), FOREIGN.values(), ids=FOREIGN)
def test_a_refusal_in_the_servers_language(
    severity: str, message: str, encoding: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(starting_up(severity, message, encoding)) as url:
        error = failing(f"{url}?sslmode=disable")
    told = unavailable(error)
    assert (told.code, told.detail) == ("database_unavailable", sentence)
    [logged] = [record.message for record in caplog.records if record.name == "dop_be.failures"]
    assert logged.startswith("database: ")
    assert len(logged.splitlines()) == 1
    if encoding in {"ascii", "latin-1", "utf-8"}:
        assert message in logged or "words that are not UTF-8" in logged


def test_the_log_has_the_servers_words_without_the_password(careful: URL, caplog: pytest.LogCaptureFixture) -> None:
    unavailable(failing(careful.set(username="careful", password="the-wrong-one")))
    [logged] = [record.message for record in caplog.records if record.name == "dop_be.failures"]
    assert 'password authentication failed for user "careful"' in logged
    assert "the-wrong-one" not in logged


# SQLite


def sqlite_failing(path: Path, *statements: str, mode: str = "rw") -> sqlite3.Error:
    """The error of the last statement, or of opening the file."""
    try:
        opened = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=0, isolation_level=None)
        with closing(opened):
            for statement in statements:
                opened.execute(statement)
    except sqlite3.Error as error:
        return error
    pytest.fail("nothing failed")


@pytest.fixture
def file(sqlite_url: str) -> Path:
    return Path(str(make_url(sqlite_url).database))


def assert_told(error: sqlite3.Error, name: str, file: Path) -> None:
    assert explain(error) == sentences.BY_SQLITE[name].format("")
    assert explain_in_full(error, make_url(f"sqlite:///{file}")) == sentences.BY_SQLITE[name].format(f" {file}")
    assert str(file) not in explain(error)


def test_a_file(file: Path, tmp_path: Path) -> None:
    assert_told(sqlite_failing(file, ROW, mode="ro"), "SQLITE_READONLY", file)
    assert_told(sqlite_failing(file, "PRAGMA max_page_count = 1", "CREATE TABLE big (x)"), "SQLITE_FULL", file)
    assert_told(sqlite_failing(tmp_path, "SELECT 1"), "SQLITE_CANTOPEN", tmp_path)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_told(sqlite_failing(file, ROW), "SQLITE_BUSY", file)


def test_a_damaged_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "none.sqlite3"
    other.write_text("this is a text, and longer than the header of a database would be" * 20)
    assert_told(sqlite_failing(other, "SELECT * FROM system_settings"), "SQLITE_NOTADB", other)
    pages = file.read_bytes()
    file.write_bytes(pages[:100] + b"\xff" * (len(pages) - 100))
    assert_told(sqlite_failing(file, "SELECT * FROM system_settings"), "SQLITE_CORRUPT", file)


def test_a_file_without_our_tables(file: Path) -> None:
    for statements in (
        ["SELECT * FROM no_such"],
        ["SELECT no_such FROM system_settings"],
        ["INSERT INTO live_state (no_such) VALUES (1)"],
    ):
        assert explain(sqlite_failing(file, *statements)) == sentences.NOT_MIGRATED


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "moved.sqlite3"
    with pytest.raises(sqlite.NoFile) as caught:
        sqlite.open_file(path)
    assert not path.exists()
    assert explain(caught.value) == sentences.NO_FILE.format("")
    told = unavailable(caught.value)
    told.__cause__ = caught.value
    assert str(path) not in told.detail
    assert explain_in_full(told, make_url(f"sqlite:///{path}")) == sentences.NO_FILE.format(f" {path}")


# Domain errors


def test_what_is_read_only_has_a_code_of_its_own(postgresql_url: str, file: Path) -> None:
    for error in (
        failing(postgresql_url, "SET default_transaction_read_only = on", ROW),
        failing(f"{postgresql_url}?target_session_attrs=read-write&options=-cdefault_transaction_read_only%3Don"),
        sqlite_failing(file, ROW, mode="ro"),
    ):
        told = unavailable(error)
        assert isinstance(told, DatabaseReadOnly)
        assert (told.status, told.code, told.detail) == (503, "database_read_only", explain(error))
    other = unavailable(failing(postgresql_url, "SELECT no_such_column FROM system_settings"))
    assert type(other) is DatabaseUnavailable


def test_a_domain_error_keeps_its_own_words() -> None:
    assert explain(InvalidInput({"until": ["Not a date."]})) == "until: Not a date."


def test_a_fault_of_our_own_is_not_called_the_databases_silence() -> None:
    assert explain(ValueError("year 10000 is out of range")) == sentences.UNREADABLE_STATE


@contextmanager
def in_encoding(encoding: str) -> Iterator[str]:
    """An empty database that keeps its text in this encoding, with UTF-8 asked for."""
    url = shared.create(f"template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    yield f"{url}?client_encoding=utf8"
    shared.drop(make_url(url).database)


def test_a_character_that_the_database_cannot_store_is_the_callers() -> None:
    with in_encoding("LATIN1") as url:
        told = refusal(failing(url, "SELECT '€'"))
    assert isinstance(told, InvalidInput)
    assert told.detail == (
        "_schema: The database's encoding lacks one of these characters: character with byte sequence 0xe2 0x82 0xac"
        ' in encoding "UTF8" has no equivalent in encoding "LATIN1".'
    )


def test_bytes_that_are_no_text() -> None:
    """A server that keeps any bytes refuses to send those as UTF-8 that are none."""
    with in_encoding("SQL_ASCII") as url:
        assert explain(failing(url, r"SELECT convert_from('\366'::bytea, 'SQL_ASCII')")) == sentences.BAD_TEXT


def test_what_a_read_is_asked_for_is_the_callers_too(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    """Not "unavailable": trying again would not help."""
    app = make_app(postgresql_url)
    assert app.extensions["live"].refresh()

    @app.get("/asked")
    def asked() -> Any:
        raise failing(postgresql_url, "SELECT 100000::smallint")

    answer = app.test_client().get("/asked", headers=ADMIN)
    assert (answer.status_code, answer.get_json(force=True)["code"]) == (422, "invalid")
