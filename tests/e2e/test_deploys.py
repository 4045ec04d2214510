"""Deploys and deaths during maintenance, through each shipped proxy as it fails open: nobody gets past the gate."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests import processes
from tests.conftest import ADMIN
from tests.postgres import execute
from tests.processes import copy_project

from .proxies import NAMES, REMEMBERING, Proxy
from .servers import Server, children, eventually, gunicorn, serving
from .visitors import Recorder

VISITORS, PAUSE = 8, 0.015  # at a time, and seconds between the requests of each: up to 500 requests a second
WORKERS = 2
ENOUGH = 500  # visits
NONE = 0  # counts as the status of an answer that broke off
# Those that remember ask every time here, which is the harder way; `make soak` runs them as shipped too.
EDGES = [
    *(pytest.param((name, name in REMEMBERING), id=name) for name in NAMES),
    *(pytest.param((name, False), id=f"{name}, remembering", marks=pytest.mark.soak) for name in REMEMBERING),
]
UNREACHABLE = "DATABASE_URL=postgresql://nobody@127.0.0.1:1/nothing\n"


def hang_up(server: Server) -> None:
    """Restart every worker."""
    before = server.workers()
    os.kill(server.pid, signal.SIGHUP)
    eventually(30, lambda: len(server.workers()) == WORKERS and not set(before) & set(server.workers()))


def replace(server: Server) -> None:
    """Deploy: a new master beside the old one, and once its workers know the state, the end of the old one."""
    processes.run([str(processes.ROOT / "deploy/replace"), str(server.pid_file)])
    eventually(30, server.ended)


def kill_each(server: Server) -> None:
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
        eventually(30, lambda worker=worker: worker not in server.workers() and len(server.workers()) == WORKERS)
        time.sleep(0.3)


@contextmanager
def visited(proxy: Proxy) -> Iterator[Callable[[], Counter[int]]]:
    """Let visitors come all the while, at least ENOUGH; a function that tells the statuses of their answers so far."""
    seen: list[Counter[int]] = [Counter() for _ in range(VISITORS)]
    over = threading.Event()

    def statuses() -> Counter[int]:
        return +sum((each.copy() for each in seen), Counter())

    def visit(into: Counter[int]) -> None:
        connection = HTTPConnection("127.0.0.1", proxy.port, timeout=30)  # kept, so that the ports suffice
        while not over.wait(PAUSE):
            idle = connection.sock is not None
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                into[answer.status] += 1
            except (HTTPException, OSError) as error:
                connection.close()
                # a kept connection may have been closed just now
                into[NONE] += not (idle and isinstance(error, RemoteDisconnected | ConnectionError))
        connection.close()

    threads = [threading.Thread(target=visit, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    try:
        yield statuses
        eventually(60, lambda: statuses().total() >= ENOUGH)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_hup_takes_no_configuration_and_a_broken_one_harms_nothing(postgresql_url: str, tmp_path: Path) -> None:
    copy_project(tmp_path / "dop_be")
    with gunicorn(postgresql_url, workers=WORKERS, cwd=tmp_path / "dop_be") as server:
        (tmp_path / "dop_be/.env").write_text("LOG_LEVEL=nonsense\n")
        hang_up(server)
        assert server.get("/readyz").status_code == 200
        assert "HUP takes neither new code nor a new configuration" in server.log()


@pytest.mark.parametrize(
    ("file", "text"),
    [("wsgi.py", "raise RuntimeError('broken')\n"), (".env", "LOG_LEVEL=nonsense\n"), (".env", UNREACHABLE)],
    ids=["code", "configuration", "database"],
)
def test_a_release_that_does_not_come_up_leaves_the_old_one_serving(
    postgresql_url: str, tmp_path: Path, file: str, text: str
) -> None:
    tree = copy_project(tmp_path / "dop_be")
    (tree / ".env").write_text(f"DATABASE_URL={postgresql_url}\n")
    with gunicorn("", workers=WORKERS, cwd=tree) as server:
        before = server.workers()
        (tree / file).write_text(text)
        done = processes.run([tree / "deploy/replace", server.pid_file, "6"], check=False)
        assert (done.returncode, done.stderr) == (
            1,
            "deploy/replace: no new gunicorn was ready within 6 s, and the old one goes on; gunicorn's log says why\n",
        )
        eventually(30, lambda: server.workers() == before)
        assert server.get("/readyz").status_code == 200


def test_a_release_that_has_only_the_last_state_leaves_the_old_one_serving(postgresql_url: str, tmp_path: Path) -> None:
    """It serves, but may have lost its database by its own configuration."""
    tree = copy_project(tmp_path / "dop_be")
    state = tmp_path / "state.json"
    with gunicorn(postgresql_url, workers=WORKERS, cwd=tree, STATE_FILE=str(state)) as server:
        eventually(30, state.exists)
        before, name = server.workers(), make_url(postgresql_url).database
        other = make_url(postgresql_url).set(database="postgres").render_as_string(hide_password=False)
        execute(other, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            done = processes.run([tree / "deploy/replace", server.pid_file, "6"], check=False)
        finally:
            execute(other, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert done.returncode == 1
        assert "the last state is in force" in server.log()
        eventually(30, lambda: server.workers() == before)


def test_it_waits_for_every_new_worker_and_for_the_old_master(postgresql_url: str, tmp_path: Path) -> None:
    """Also for one that a slow client keeps: a second deploy would find the first one's new workers ready."""
    tree = copy_project(tmp_path / "dop_be")
    replace: list[str | Path] = [tree / "deploy/replace", "gunicorn.pid", "20"]
    with gunicorn(postgresql_url, "--pid", str(tree / "gunicorn.pid"), workers=6, cwd=tree) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")  # and does not go on
            time.sleep(0.3)
            begun = processes.start(replace, cwd=tree)
            eventually(30, (tree / "gunicorn.pid.2").exists)
            second = processes.run(replace, cwd=tree, check=False)
            assert (second.returncode, second.stderr) == (
                1,
                "deploy/replace: another deploy is under way; try again when gunicorn.pid.2 has gone\n",
            )
        assert begun.wait(60) == 0
        new = int((tree / "gunicorn.pid").read_text())
        names = [Path(f"/proc/{worker}/comm").read_text() for worker in children(new)]
        assert names == ["dop_be-ready\n"] * 6
        assert server.ended()
        (tree / ".env").write_text("LOG_LEVEL=nonsense\n")
        assert processes.run([*replace[:2], "3"], cwd=tree, check=False).returncode == 1
        assert children(new)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no gunicorn.pid; start gunicorn with --pid gunicorn.pid"),
        ("4194303", "gunicorn.pid names process 4194303, which does not run; start gunicorn again"),
    ],
)
def test_it_says_what_is_wrong_with_the_file(tmp_path: Path, text: str | None, told: str) -> None:
    if text:
        (tmp_path / "gunicorn.pid").write_text(text)
    done = processes.run([processes.ROOT / "deploy/replace", "gunicorn.pid"], cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (1, f"deploy/replace: {told}\n")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_it_runs_where_it_may_write_to_its_database_alone(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As any user, and in a container with a read-only root: no home, no temporary folder, a tree to read."""
    url = request.getfixturevalue(f"{database}_url")
    tree = copy_project(tmp_path / "dop_be")
    for path in [*tree.rglob("*"), tree]:
        path.chmod(path.stat().st_mode & ~0o222)
    # root, without what lets it write anywhere
    ordinary = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    nowhere = {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}
    probe = processes.run([*ordinary, "touch", tree / "x"], check=False)
    assert "Permission denied" in probe.stderr
    command = [*ordinary, "gunicorn", "--bind", "127.0.0.1:$PORT"]
    with serving(command, cwd=tree, path="/readyz", DATABASE_URL=url, **nowhere) as server:
        server.request("PUT", "/api/v1/maintenance", json={"active": True}, headers=ADMIN).raise_for_status()
        eventually(30, lambda: server.get("/gate").status_code == 503)  # the other worker has its time on SQLite


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = (processes.ROOT / "deploy/dop_be.service").read_text()
    tree = copy_project(tmp_path / "dop_be")
    for name in ("flask", "python"):  # it looks whether they are there
        (tree / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (tree / ".venv/bin" / name).symlink_to("/bin/true")
    unit = tmp_path / "dop_be.service"
    unit.write_text(text.replace("/opt/dop_be", str(tree)))
    done = processes.run(["systemd-analyze", "verify", "--man=no", unit], check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "dop_be" in line]) == (0, [])


@pytest.mark.parametrize("active", [True, False], ids=["in maintenance", "open"])
@pytest.mark.parametrize("edge", EDGES)
def test_one_of_two_instances_may_be_restarted(
    edge: tuple[str, bool], active: bool, postgresql_url: str, tmp_path: Path
) -> None:
    name, asking = edge
    with ExitStack() as stack:
        platform = Recorder(lambda _: (200, {}))
        stack.callback(platform.end)
        first, second = (stack.enter_context(gunicorn(postgresql_url, workers=WORKERS)) for _ in range(2))
        first.request("PUT", "/api/v1/maintenance", json={"active": active}, headers=ADMIN).raise_for_status()
        eventually(30, lambda: second.get("/api/v1/maintenance").json()["active"] == active)
        edges = Proxy(
            name,
            tmp_path / name,
            platform.port,
            first.port,
            second=second.port,
            fail_closed=not active,
            asking=asking,
        )
        proxy = stack.enter_context(edges.running())
        expected = 503 if active else 200
        eventually(30, lambda: proxy.ask("GET", "/").status == expected)
        with visited(proxy) as statuses:
            time.sleep(0.5)
            second.stop()
            time.sleep(1)
            stack.enter_context(gunicorn(postgresql_url, "--bind", f"127.0.0.1:{second.port}", workers=WORKERS))
            time.sleep(1)
        assert set(statuses()) == {expected}


@pytest.mark.parametrize("active", [True, False], ids=["in maintenance", "open"])
@pytest.mark.parametrize("happening", [hang_up, replace, kill_each])
@pytest.mark.parametrize("edge", EDGES)
def test_nobody_is_let_through_or_refused_wrongly(
    edge: tuple[str, bool], happening: Callable[[Server], None], active: bool, postgresql_url: str, tmp_path: Path
) -> None:
    name, asking = edge
    with ExitStack() as stack:
        platform = Recorder(lambda _: (200, {}))
        stack.callback(platform.end)
        dop_be = stack.enter_context(gunicorn(postgresql_url, workers=WORKERS))
        dop_be.request("PUT", "/api/v1/maintenance", json={"active": active}, headers=ADMIN).raise_for_status()
        proxy = stack.enter_context(
            Proxy(name, tmp_path / name, platform.port, dop_be.port, fail_closed=not active, asking=asking).running()
        )
        expected = 503 if active else 200
        eventually(30, lambda: proxy.ask("GET", "/").status == expected)
        with visited(proxy) as statuses:
            time.sleep(0.5)
            happening(dop_be)
            time.sleep(1)
        assert set(statuses()) == {expected}
