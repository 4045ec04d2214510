"""What is said of a server that does not let us in, in whatever language it says so."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from dop_be import sentences
from dop_be.deadline import time_limit
from dop_be.failures import explain, unavailable

from .answering import answering, port_of, starting_up
from .failing import failing
from .guard import sitecustomize as guard
from .postgres import Cluster, connections_used_up, execute

# What a server says before it closes the connection, in its own language and encoding: the database is starting up.
FOREIGN = {
    "english": ("FATAL", "the database system is starting up", "ascii", sentences.STARTING),
    "german": ("FATAL", "das Datenbanksystem fährt hoch", "latin-1", sentences.REFUSED),
    "russian": ("ВАЖНО", "система баз данных запускается", "koi8-r", sentences.REFUSED),
    "japanese": ("FATAL", "データベースシステムは起動処理中です", "euc_jp", sentences.REFUSED),
    "chinese": ("致命错误", "数据库系统启动中", "utf-8", sentences.REFUSED),
}


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
