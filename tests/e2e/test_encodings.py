"""Databases that keep their text in another encoding than UTF-8, and servers that speak another language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url

from dop_be import sentences

from .. import shared
from ..answering import answering, starting_up
from ..conftest import ADMIN
from ..postgres import execute
from .commands import flask, refused
from .servers import Server, eventually, gunicorn

TEXT = "Größe"
TOO_MUCH = "€ 😀"  # for LATIN1
IN_LATIN1 = (
    r"convert_from('Gr\366\337e'::bytea, 'SQL_ASCII')"  # bytes that are not UTF-8, as of a psql with that encoding
)
READ = "Gr\ufffd\ufffde"  # of these, with a replacement for each byte that is none
REFUSALS = {
    "german": starting_up("FATAL", "das Datenbanksystem fährt hoch", "latin-1"),
    "russian": starting_up("ВАЖНО", "система баз данных запускается", "koi8-r"),
    "chinese": starting_up("致命错误", "数据库系统启动中", "gbk"),
}


def migrated(encoding: str) -> str:
    """The name of a migrated database in this encoding, to copy."""
    url = shared.create(f"template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    flask(url, "db", "upgrade")
    return str(make_url(url).database)


@pytest.fixture(scope="module")
def templates() -> Iterator[dict[str, str]]:
    """By encoding; made when they are first wanted."""
    made: dict[str, str] = {}
    yield made
    shared.drop(*made.values())


@pytest.fixture
def url(request: pytest.FixtureRequest, templates: dict[str, str]) -> Iterator[str]:
    """A migrated database of this test's own, in the encoding that it names."""
    encoding = request.param
    if encoding not in templates:
        templates[encoding] = migrated(encoding)
    url = shared.create(templates[encoding])
    yield url
    shared.drop(make_url(url).database)


SQL_ASCII = pytest.mark.parametrize("url", ["SQL_ASCII"], indirect=True)
LATIN1 = pytest.mark.parametrize("url", ["LATIN1"], indirect=True)
BOTH = pytest.mark.parametrize("url", ["SQL_ASCII", "LATIN1"], indirect=True)


def put(server: Server, *, reason: str | None = None, **switch: Any) -> tuple[int, Any]:
    headers = ADMIN | ({"X-Change-Reason": quote(reason)} if reason else {})
    answer = server.request("PUT", "/api/v1/maintenance", json=switch, headers=headers)
    return answer.status_code, answer.json()


def message(server: Server) -> str | None:
    found: str | None = server.get("/api/v1/settings").json().get("maintenance_message")
    return found


def history(server: Server, query: str = "") -> Any:
    answer = server.get(f"/api/v1/history{query}", headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return answer.json()["changes"]


@BOTH
def test_text_beyond_ascii_is_stored_and_comes_back(url: str) -> None:
    with gunicorn(url) as server:
        status, body = put(server, active=True, message=TEXT, reason=TEXT)
        assert (status, body["message"]) == (200, TEXT)
        assert message(server) == TEXT
        change = history(server)[0]
        assert change["reason"] == TEXT
        assert TEXT in str(change)
        with gunicorn(url) as newer:
            eventually(10, lambda: newer.get("/readyz").status_code == 200)
            assert message(newer) == TEXT
        assert TEXT in flask(url, "settings", "show")
        flask(url, "maintenance", "on", "--message", TEXT[::-1], "--reason", TEXT)
        eventually(10, lambda: message(server) == TEXT[::-1])
    [(stored,)] = execute(url, "SELECT octet_length(maintenance_message) FROM system_settings")
    [(encoding,)] = execute(url, "SHOW server_encoding")
    assert stored == len(TEXT.encode("latin-1" if encoding == "LATIN1" else "utf-8"))


@SQL_ASCII
def test_bytes_that_are_not_utf_8_lock_nobody_out(url: str) -> None:
    """SQL_ASCII takes any bytes from any client, and refuses to send those as UTF-8 that are none: read them raw."""
    closed = f"UPDATE system_settings SET is_maintain = true, maintenance_message = {IN_LATIN1}"
    with gunicorn(url) as server:
        execute(url, closed)
        eventually(10, lambda: message(server) == READ)
        assert server.get("/gate").status_code == 503
        with gunicorn(url) as newer:
            eventually(10, lambda: newer.get("/readyz").status_code == 200)
            assert message(newer) == READ
        assert READ in str(history(server)[0])
        assert put(server, active=False)[0] == 200
        assert server.get("/gate").status_code == 200
        execute(url, closed)
        eventually(10, lambda: server.get("/gate").status_code == 503)
        flask(url, "maintenance", "off")
        eventually(10, lambda: server.get("/gate").status_code == 200)
        assert "Traceback" not in server.log()


@LATIN1
def test_what_the_database_cannot_store_is_the_callers(url: str) -> None:
    with gunicorn(url) as server:
        for status, body in (
            put(server, active=True, message=TOO_MUCH),
            put(server, active=True, message="closed", reason=TOO_MUCH),
        ):
            assert (status, body["code"]) == (422, "invalid")
            assert 'in encoding "LATIN1"' in body["detail"]
        answer = server.get(f"/api/v1/history?by={quote(TOO_MUCH)}", headers=ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
        assert 'in encoding "LATIN1"' in answer.json()["detail"]
        assert 'in encoding "LATIN1"' in refused(url, "maintenance", "on", "--message", TOO_MUCH)
        assert 'in encoding "LATIN1"' in refused(url, "maintenance", "on", "--reason", TOO_MUCH)
        assert server.get("/gate").status_code == 200
        assert [change["revision"] for change in history(server)] == [1]  # that of the migration
        assert execute(url, "SELECT revision, is_maintain FROM system_settings") == [(1, False)]
        assert put(server, active=True, message=TEXT)[0] == 200  # the same connection goes on
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_in_the_servers_language(refusal: bytes) -> None:
    with answering(refusal) as url, gunicorn(f"{url}?sslmode=disable") as server:

        def ready() -> str:
            answer = server.get("/readyz")
            assert answer.status_code == 503
            return " ".join([answer.json()["detail"], *answer.json()["notes"]])

        eventually(10, lambda: sentences.REFUSED.rstrip(".").lower() in ready().lower())
        status, body = put(server, active=True)
        assert (status, body["code"], body["detail"]) == (503, "database_unavailable", sentences.REFUSED)
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_command_says_it_in_one_line(refusal: bytes) -> None:
    with answering(refusal) as url:
        assert refused(f"{url}?sslmode=disable", "maintenance", "status") == sentences.REFUSED
        assert refused(f"{url}?sslmode=disable", "maintenance", "off") == sentences.REFUSED
        assert "check DATABASE_URL" in refused(f"{url}?sslmode=disable", "db", "upgrade", code=1)
