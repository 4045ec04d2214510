"""With real servers: no secret in a log or a dump, and no worker that still takes a revoked token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy.engine import make_url

from .. import postgres, processes
from ..conftest import ADMIN_TOKEN
from ..e2e.servers import Server, eventually, gunicorn
from ..postgres import execute

PASSWORD = "pass-word-of-the-database"
SECRET_KEY = "secret-key-of-more-than-32-characters"
WRONG_TOKEN = "dop_01234567_" + "0" * 48
URL = "/api/v1/settings"


@pytest.fixture
def url(database_url: str) -> str:
    """The database's URL with a password, which a server that trusts us does not mind."""
    url = make_url(database_url)
    return (url.set(password=PASSWORD) if url.host else url).render_as_string(hide_password=False)


@pytest.fixture
def server(url: str) -> Iterator[Server]:
    with gunicorn(url, workers=2, SECRET_KEY=SECRET_KEY, LOG_LEVEL="DEBUG") as server:
        yield server


def flask(url: str, *arguments: str) -> tuple[str, str]:
    """Run a command beside the server; what it says, and what it logs."""
    environment = processes.environment(DATABASE_URL=url, ADMIN_TOKEN=ADMIN_TOKEN, LOG_LEVEL="DEBUG")
    done = processes.run(["flask", *arguments], env=environment, check=False)
    return done.stdout.strip(), done.stderr


def send(server: Server, token: str, **values: object) -> int:
    headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
    return server.request("PATCH", URL, json=values, headers=headers).status_code


def dump(url: str) -> bytes:
    """All that a backup of the database holds."""
    if url.startswith("sqlite"):
        return Path(str(make_url(url).database)).read_bytes()
    return postgres.dump(url).encode()


def test_no_secret_reaches_a_log_line_or_a_dump(server: Server, url: str) -> None:
    token, logged = flask(url, "tokens", "create", "ci", "--scope", "settings:write")
    assert send(server, ADMIN_TOKEN, is_maintain=True) == 200
    for wrong in (WRONG_TOKEN, token[:-1], token + "0", "\xe9"):
        assert send(server, wrong, is_maintain=False) == 401
    assert send(server, ADMIN_TOKEN, maintenance_message="x" * 501) == 422
    if url.startswith("postgresql"):  # errors of the database, in the server and on the command line
        execute(url, "ALTER TABLE system_settings RENAME TO gone")
        assert send(server, ADMIN_TOKEN, is_maintain=False) == 503
        logged += flask(url, "maintenance", "on")[1]
        execute(url, "ALTER TABLE gone RENAME TO system_settings")
        logged += flask(url.replace("127.0.0.1:", "127.0.0.1:1"), "settings", "show")[1]
    dumped = dump(url)
    server.stop()
    logged += server.log()
    assert '"settings changed"' in logged
    assert '"token created"' in logged
    for secret in (ADMIN_TOKEN, SECRET_KEY, PASSWORD, token.split("_")[2][:-1], WRONG_TOKEN[:-1]):
        assert secret not in logged
        assert secret.encode() not in dumped
    assert "Bearer" not in logged


def test_a_revoked_token_is_refused_on_a_kept_connection_by_every_worker(server: Server, url: str) -> None:
    headers = {"Authorization": f"Bearer {flask(url, 'tokens', 'create', 'ci', '--scope', 'settings:read')[0]}"}
    sessions = [requests.Session() for _ in range(8)]  # enough to meet both workers

    def statuses() -> set[int]:
        return {session.get(server.url + URL, headers=headers, timeout=10).status_code for session in sessions}

    eventually(10, lambda: statuses() == {200})
    assert flask(url, "tokens", "revoke", "ci")[0] == "token ci is revoked"
    eventually(10, lambda: statuses() <= {401, 429})
    for session in sessions:
        session.close()
