"""No secret in the clear, neither in a real server's log nor in a dump; a revoked token on a kept connection."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy.engine import make_url

from config import ROOT

from ..conftest import ADMIN_TOKEN
from ..postgres import binaries, execute, free_port

PASSWORD = "pass-word-of-the-database"
SECRET_KEY = "secret-key-of-more-than-32-characters"
WRONG_TOKEN = "dop_01234567_" + "0" * 48
CHANGE = "/api/v1/settings"


class Server:
    """A real gunicorn of two workers, and the file with all it writes."""

    def __init__(self, url: str, log: Path) -> None:
        self.log, self.port = log, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {**os.environ, "DATABASE_URL": url, "ADMIN_TOKEN": ADMIN_TOKEN, "SECRET_KEY": SECRET_KEY}
        self.environ |= {"PORT": str(self.port), "WEB_CONCURRENCY": "2", "LOG_LEVEL": "DEBUG"}
        self._file = log.open("ab")
        bind = f"127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--bind", bind],
            cwd=ROOT,
            env=self.environ,
            stdout=self._file,
            stderr=self._file,
        )

    def wait(self) -> None:
        """Until it answers; a server that does not come up ends the test with its log."""
        while self._process.poll() is None:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/readyz", timeout=10).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(self.log.read_text())

    def flask(self, *arguments: str) -> str:
        """Run a command beside the server, its stderr into the same log; what it says."""
        command = [sys.executable, "-m", "flask", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, stderr=self._file, text=True, check=False
        )
        return done.stdout.strip()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._file.close()


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    url = make_url(database_url)
    if url.host:
        url = url.set(password=PASSWORD)  # a server that trusts us does not mind
    server = Server(url.render_as_string(hide_password=False), tmp_path / "log")
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def send(server: Server, token: str, **values: Any) -> int:
    headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
    return requests.patch(server.url + CHANGE, json=values, headers=headers, timeout=10).status_code


def dump(url: str) -> bytes:
    """All that a backup of the database holds."""
    if url.startswith("sqlite"):
        return Path(str(make_url(url).database)).read_bytes()
    program = binaries() / "pg_dump"
    return subprocess.run([program, url], capture_output=True, check=True).stdout


def test_no_secret_reaches_a_log_line_or_a_dump(server: Server, database_url: str) -> None:
    token = server.flask("tokens", "create", "ci", "--scope", "settings:write")
    tried = [ADMIN_TOKEN, token, WRONG_TOKEN, token[:-1], "é"]
    answered = [
        send(server, text.encode().decode("latin-1"), is_maintain=number % 2 == 0) for number, text in enumerate(tried)
    ]
    assert set(answered) <= {200, 401}
    assert answered.count(200) >= 1
    send(server, token, maintenance_message="x" * 501)
    server.flask("settings", "show", "--nonsense")
    if not database_url.startswith("sqlite"):
        execute(database_url, "ALTER TABLE system_settings RENAME TO gone")
        assert send(server, ADMIN_TOKEN, is_maintain=True) == 503
        server.flask("maintenance", "on")
        execute(database_url, "ALTER TABLE gone RENAME TO system_settings")
    dumped = dump(database_url)
    server.stop()
    logged = server.log.read_bytes()
    assert b"settings changed" in logged
    assert b"token created" in logged
    for secret in (ADMIN_TOKEN, SECRET_KEY, PASSWORD, *(text.split("_")[2] for text in (token, WRONG_TOKEN))):
        assert secret.encode() not in logged
        assert secret.encode() not in dumped
    assert b"Bearer" not in logged


def test_a_revoked_token_is_refused_on_a_kept_connection_by_every_worker(server: Server) -> None:
    token = server.flask("tokens", "create", "ci", "--scope", "settings:read")
    headers = {"Authorization": f"Bearer {token}"}
    sessions = [requests.Session() for _ in range(8)]  # enough to meet both workers

    def statuses() -> set[int]:
        return {session.get(server.url + CHANGE, headers=headers, timeout=10).status_code for session in sessions}

    while statuses() != {200}:
        pass
    assert server.flask("tokens", "revoke", "ci") == "token ci is revoked"
    while 200 in statuses():
        pass
    for session in sessions:
        session.close()
