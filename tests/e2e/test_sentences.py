"""What is wrong with the database, in the same true sentence through the API, the command line and `/readyz`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from dop_be import sentences

from ..conftest import ADMIN
from ..postgres import Cluster, connections_used_up, execute
from .commands import ORDINARY, refused
from .servers import Server, eventually, gunicorn, serving

SOON = 20.0  # seconds until a worker has noticed, on a busy machine


@contextmanager
def held(url: str, statement: str) -> Iterator[str]:
    """A transaction that a psql has left open; how it is named."""
    with closing(psycopg2.connect(url, application_name="psql")) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("SELECT pg_backend_pid(), session_user, to_char(now() AT TIME ZONE 'UTC', 'HH24:MI:SS')")
        [(pid, user, since)] = cursor.fetchall()
        yield f"PostgreSQL process {pid} of {user} (psql), since {since} UTC"


def switch(server: Server, **body: Any) -> tuple[int, str, str]:
    """Status, code and detail of a write."""
    answer = server.request("PUT", "/api/v1/maintenance", json=body or {"active": True}, headers=ADMIN)
    found = answer.json()
    return answer.status_code, found.get("code", ""), found.get("detail", "")


def told(server: Server) -> str:
    """All that `/readyz` says, without the full stop of a sentence that may stand within."""
    found = server.get("/readyz").json()
    return " ".join([found.get("detail", ""), *found["notes"]])


def says(server: Server, sentence: str) -> bool:
    return sentence.rstrip(".").lower() in told(server).lower()


# PostgreSQL


def test_a_transaction_that_psql_left_open_is_named(postgresql_url: str) -> None:
    with gunicorn(postgresql_url) as server:
        eventually(SOON, lambda: server.get("/readyz").status_code == 200)
        with held(postgresql_url, "SELECT 1 FROM system_settings FOR UPDATE") as name:
            status, code, detail = switch(server)
            assert (status, code) == (503, "database_unavailable")
            assert name in detail
            assert name in refused(postgresql_url, "maintenance", "on")
            assert server.get("/readyz").status_code == 200  # reading waits for no row
            assert server.get("/gate").status_code == 200
        assert switch(server)[0] == 200


def test_readyz_tells_a_lock_of_the_whole_table(postgresql_url: str) -> None:
    with gunicorn(postgresql_url) as server:
        eventually(SOON, lambda: server.get("/readyz").status_code == 200)
        with held(postgresql_url, "LOCK TABLE system_settings, live_state IN ACCESS EXCLUSIVE MODE"):
            eventually(SOON, lambda: "another session holds a lock on the settings" in told(server).lower())
            assert server.get("/gate").status_code == 200
        eventually(SOON, lambda: "lock" not in told(server))


def test_a_role_that_may_only_read(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    read_only = f'ALTER ROLE "{url.username}" IN DATABASE "{url.database}" SET default_transaction_read_only = on'
    execute(postgresql_url, read_only)
    with gunicorn(postgresql_url) as server:
        eventually(SOON, lambda: server.get("/readyz").status_code == 200)
        assert switch(server) == (503, "database_read_only", sentences.READ_ONLY)
        answer = server.patch(is_maintain=True)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_read_only")
        assert refused(postgresql_url, "maintenance", "on") == sentences.READ_ONLY
        assert server.get("/gate").status_code == 200
        assert server.get("/api/v1/settings").status_code == 200


def test_a_column_that_was_renamed_is_not_migrated(postgresql_url: str) -> None:
    with gunicorn(postgresql_url) as server:
        eventually(SOON, lambda: server.get("/readyz").status_code == 200)
        execute(
            postgresql_url,
            "ALTER TABLE system_settings RENAME COLUMN maintenance_message TO elsewhere",
            "UPDATE live_state SET version = version + 1",  # which every worker reads the state for
        )
        assert switch(server) == (503, "database_unavailable", sentences.NOT_MIGRATED)
        assert "run `flask db upgrade`" in refused(postgresql_url, "maintenance", "on")
        assert "run `flask db upgrade`" in refused(postgresql_url, "maintenance", "status")
        eventually(SOON, lambda: says(server, sentences.NOT_MIGRATED))
        assert server.get("/gate").status_code == 200  # as it was last known
        execute(
            postgresql_url,
            "ALTER TABLE system_settings RENAME COLUMN elsewhere TO maintenance_message",
            "UPDATE live_state SET version = version + 1",
        )
        eventually(SOON, lambda: not says(server, sentences.NOT_MIGRATED))
        assert switch(server)[0] == 200


def assert_told_everywhere(url: str, sentence: str) -> None:
    """By the API, the command line and `/readyz` of a worker that has never reached it."""
    with gunicorn(url) as server:
        assert switch(server) == (503, "database_unavailable", sentence)
        eventually(SOON, lambda: says(server, sentence))
        assert server.get("/readyz").status_code == 503
        assert "Traceback" not in server.log()
    for words in (["maintenance", "status"], ["maintenance", "off"], ["settings", "show"]):
        assert refused(url, *words) == sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"database": "no_such_database"}, sentences.NO_DATABASE),
        ({"username": "no_such_role"}, sentences.NO_ROLE),
        ({"port": 1}, sentences.NOTHING_LISTENS),
        ({"query": {"sslmode": "require"}}, sentences.NO_TLS),
    ],
    ids=["database", "role", "port", "tls"],
)
def test_a_url_that_is_wrong(breakable_url: str, changes: dict[str, Any], sentence: str) -> None:
    url = make_url(breakable_url).set(**changes)
    assert_told_everywhere(url.render_as_string(hide_password=False), sentence)


@pytest.fixture
def careful(cluster: Cluster, breakable_url: str) -> Iterator[str]:
    """The URL of a role whose password the server wants, with a wrong one."""
    [(file,)] = execute(cluster.url(), "SHOW hba_file")
    before = Path(file).read_text()
    Path(file).write_text(f"host all careful 127.0.0.1/32 scram-sha-256\n{before}")
    execute(cluster.url(), "CREATE ROLE careful LOGIN PASSWORD 'the-right-one'", "SELECT pg_reload_conf()")
    url = make_url(breakable_url).set(username="careful", password="the-wrong-one")
    yield url.render_as_string(hide_password=False)
    Path(file).write_text(before)
    execute(cluster.url(), "SELECT pg_reload_conf()", "DROP ROLE careful")


def test_a_password_that_is_wrong(careful: str) -> None:
    assert_told_everywhere(careful, sentences.NOT_ACCEPTED)


def test_a_server_without_connections(breakable_url: str) -> None:
    with connections_used_up(breakable_url):
        assert_told_everywhere(breakable_url, sentences.OUT_OF_CONNECTIONS)


# SQLite


@pytest.fixture
def file(sqlite_url: str) -> Path:
    return Path(str(make_url(sqlite_url).database))


@contextmanager
def of_an_ordinary_user(url: str) -> Iterator[Server]:
    """A server that may write only what its user may: root may write everything."""
    command = [*ORDINARY, "gunicorn", "--bind", "127.0.0.1:$PORT"]
    with serving(command, DATABASE_URL=url, WEB_CONCURRENCY="1", STATE_FILE="none") as server:
        yield server


def test_a_file_that_may_only_be_read(sqlite_url: str, file: Path) -> None:
    file.chmod(0o444)
    try:
        with of_an_ordinary_user(sqlite_url) as server:
            eventually(SOON, lambda: server.get("/readyz").status_code == 200)
            sentence = sentences.BY_SQLITE["SQLITE_READONLY"]
            assert switch(server) == (503, "database_read_only", sentence.format(""))
            assert server.get("/gate").status_code == 200
            assert server.get("/api/v1/settings").status_code == 200
            assert str(file) not in told(server)
        assert refused(sqlite_url, "maintenance", "on", as_user=True) == sentence.format(f" {file}")
    finally:
        file.chmod(0o644)


@pytest.mark.parametrize("write", [switch, lambda server: server.patch(is_maintain=True)])
def test_a_file_that_was_moved_away_is_not_made_anew(
    sqlite_url: str, file: Path, write: Callable[[Server], Any]
) -> None:
    with gunicorn(sqlite_url) as server:
        eventually(SOON, lambda: server.get("/readyz").status_code == 200)
        file.rename(file.with_suffix(".moved"))
        write(server)
        assert switch(server) == (503, "database_unavailable", sentences.NO_FILE.format(""))
        assert refused(sqlite_url, "maintenance", "on") == sentences.NO_FILE.format(f" {file}")
        assert refused(sqlite_url, "maintenance", "status") == sentences.NO_FILE.format(f" {file}")
        eventually(SOON, lambda: re.search("no SQLite file|SQLite file.* does not exist", told(server)))
        assert str(file) not in told(server)
        assert sorted(path.name for path in file.parent.iterdir()) == [file.with_suffix(".moved").name]
        file.with_suffix(".moved").rename(file)
        eventually(SOON, lambda: switch(server)[0] == 200)
