"""The Procfile as a platform runs it: PORT and a postgres:// URL in the environment, processes through honcho."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
import requests
from sqlalchemy.engine import make_url

from tests.conftest import ADMIN, ADMIN_TOKEN
from tests.postgres import execute, free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture
def environment(empty_postgresql: Callable[..., str]) -> dict[str, str]:
    """What the platform sets; GUNICORN_CMD_ARGS keeps the port on the loopback interface."""
    port = free_port()
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DATABASE_URL": empty_postgresql().replace("postgresql://", "postgres://"),
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes in the repository's root; those still running at the end are ended, with their children."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(url: str, seconds: float = 30) -> requests.Response:
    """The first answer of 200."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            response = requests.get(url, timeout=5)
            if response.status_code == 200:
                return response
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, f"{url} did not answer"
        time.sleep(0.05)


def test_release_migrates_and_web_serves(
    environment: dict[str, str], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    assert start("honcho", "start", "release").wait(60) == 0
    web = start("honcho", "start", "web")
    url = f"http://127.0.0.1:{environment['PORT']}"
    assert wait_for(f"{url}/readyz").json()["ready"] is True

    assert requests.get(f"{url}/", timeout=5).status_code == 200
    on = requests.put(f"{url}/api/v1/maintenance", json={"active": True}, headers=ADMIN, timeout=5)
    assert (on.status_code, on.json()["active"]) == (200, True)
    database = environment["DATABASE_URL"]
    assert execute(database, "SELECT is_maintain, updated_by FROM system_settings") == [(True, "admin")]
    execute(database, "UPDATE system_settings SET maintenance_message = 'from SQL'")
    deadline = time.monotonic() + 10
    while requests.get(f"{url}/gate", timeout=5).json()["detail"] != "from SQL":
        assert time.monotonic() < deadline
    refused = requests.get(f"{url}/", timeout=5)
    assert (refused.status_code, refused.json()["code"]) == (503, "maintenance")

    web.send_signal(signal.SIGTERM)
    web.wait(25)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/livez", timeout=5)


def test_a_second_release_changes_nothing(
    environment: dict[str, str], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    assert start("honcho", "start", "release").wait(60) == 0
    execute(environment["DATABASE_URL"], "UPDATE system_settings SET is_maintain = true")
    before = execute(environment["DATABASE_URL"], "SELECT * FROM system_settings")
    assert start("honcho", "start", "release").wait(60) == 0
    assert execute(environment["DATABASE_URL"], "SELECT * FROM system_settings") == before


def test_sigterm_finishes_running_requests_and_exits_0(
    environment: dict[str, str], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    [command] = [line.partition(": ")[2] for line in (ROOT / "Procfile").read_text().splitlines() if "web:" in line]
    assert start("flask", "db", "upgrade").wait(60) == 0
    web = start(*shlex.split(command))
    url = f"http://127.0.0.1:{environment['PORT']}"
    wait_for(f"{url}/readyz")

    holder = psycopg2.connect(
        make_url(environment["DATABASE_URL"]).set(drivername="postgresql").render_as_string(False)
    )
    with holder.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("SELECT 1 FROM system_settings FOR UPDATE")  # the write below waits behind this
        began = threading.Event()

        def write() -> requests.Response:
            began.set()
            return requests.put(f"{url}/api/v1/maintenance", json={"active": True}, headers=ADMIN, timeout=10)

        answer = pool.submit(write)
        began.wait()
        while not execute(environment["DATABASE_URL"], "SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert not answer.done()
        web.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        holder.rollback()
        assert answer.result().status_code == 200
    holder.close()
    assert web.wait(25) == 0
    assert execute(environment["DATABASE_URL"], "SELECT is_maintain FROM system_settings") == [(True,)]
