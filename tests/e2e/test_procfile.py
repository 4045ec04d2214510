"""The Procfile as a platform runs it: PORT and a postgres:// URL in the environment, processes through honcho."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg2
import pytest
import requests
from sqlalchemy.engine import make_url

from tests import processes
from tests.conftest import ADMIN, ADMIN_TOKEN
from tests.ports import free_port
from tests.postgres import WAITING, execute


@pytest.fixture
def environment(own_postgresql: str) -> dict[str, str]:
    """What the platform sets; GUNICORN_CMD_ARGS keeps the port on the loopback interface."""
    port = free_port()
    return processes.environment(
        DATABASE_URL=own_postgresql.replace("postgresql://", "postgres://"),
        PORT=str(port),
        WEB_CONCURRENCY="2",
        ADMIN_TOKEN=ADMIN_TOKEN,
        GUNICORN_CMD_ARGS=f"--bind 127.0.0.1:{port}",
        PYTHONWARNINGS="error",
        STATE_FILE="none",  # else it would lie in the copy of the project that all tests share
    )


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., processes.Popen]]:
    """Starts processes in a copy of the repository; those still running at the end are ended, with their children."""
    with ExitStack() as stack:
        yield lambda *command: stack.enter_context(processes.started(command, env=environment))


def wait_for(url: str, seconds: float = 120) -> requests.Response:
    """The first answer of 200."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            response = requests.get(url, timeout=60)
            if response.status_code == 200:
                return response
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline, f"{url} did not answer"
        time.sleep(0.05)


def test_release_migrates_and_web_serves(environment: dict[str, str], start: Callable[..., processes.Popen]) -> None:
    assert start("honcho", "start", "release").wait(120) == 0
    web = start("honcho", "start", "web")
    url = f"http://127.0.0.1:{environment['PORT']}"
    assert wait_for(f"{url}/readyz").json()["ready"] is True

    assert requests.get(f"{url}/", timeout=60).status_code == 200
    on = requests.put(f"{url}/api/v1/maintenance", json={"active": True}, headers=ADMIN, timeout=60)
    assert (on.status_code, on.json()["active"]) == (200, True)
    database = environment["DATABASE_URL"]
    assert execute(database, "SELECT is_maintain, updated_by FROM system_settings") == [(True, "admin")]
    execute(database, "UPDATE system_settings SET maintenance_message = 'from SQL'")
    deadline = time.monotonic() + 30
    while requests.get(f"{url}/gate", timeout=60).json()["detail"] != "from SQL":
        assert time.monotonic() < deadline
    refused = requests.get(f"{url}/", timeout=60)
    assert (refused.status_code, refused.json()["code"]) == (503, "maintenance")

    web.send_signal(signal.SIGTERM)
    web.wait(25)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/livez", timeout=5)


def test_a_second_release_changes_nothing(environment: dict[str, str], start: Callable[..., processes.Popen]) -> None:
    assert start("honcho", "start", "release").wait(120) == 0
    execute(environment["DATABASE_URL"], "UPDATE system_settings SET is_maintain = true")
    before = execute(environment["DATABASE_URL"], "SELECT * FROM system_settings")
    assert start("honcho", "start", "release").wait(120) == 0
    assert execute(environment["DATABASE_URL"], "SELECT * FROM system_settings") == before


def test_sigterm_finishes_running_requests_and_exits_0(
    environment: dict[str, str], start: Callable[..., processes.Popen]
) -> None:
    [command] = [
        line.partition(": ")[2] for line in (processes.ROOT / "Procfile").read_text().splitlines() if "web:" in line
    ]
    assert start("flask", "db", "upgrade").wait(120) == 0
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
            return requests.put(f"{url}/api/v1/maintenance", json={"active": True}, headers=ADMIN, timeout=60)

        answer = pool.submit(write)
        began.wait()
        while not execute(environment["DATABASE_URL"], WAITING):
            assert not answer.done()
        web.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        holder.rollback()
        assert answer.result().status_code == 200
    holder.close()
    assert web.wait(25) == 0
    assert execute(environment["DATABASE_URL"], "SELECT is_maintain FROM system_settings") == [(True,)]
