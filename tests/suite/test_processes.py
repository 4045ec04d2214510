"""Every process that a test starts ends with it, also when it fails, and also when pytest is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import processes, undertaker
from ..e2e.servers import eventually
from ..ports import free_port

TEST = '''
import json, os, sys, time
from pathlib import Path
from tests import undertaker
from tests.e2e.servers import Server, eventually

def test_that_fails(sqlite_url, postgresql_url):
    """It starts servers, and does not end them."""
    server = Server([sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:$PORT"], DATABASE_URL=sqlite_url).wait()
    eventually(30, lambda: len(server.workers()) == 2)
    ours = undertaker.left([undertaker.identity(os.getpid())], undertaker.processes())
    Path("written").write_text(json.dumps(list(ours)))
    Path("written").rename("started")
    time.sleep({seconds})
    raise AssertionError
'''
PROGRAMS = ("gunicorn", "postgres", "undertaker.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return processes.copy_project(tmp_path / "dop_be")


@pytest.fixture
def pytest_in(copy: Path) -> Iterator[processes.Popen]:
    """Starts the suite there with one test more, which is the only one that is run."""
    environment = processes.environment(PYTHONPATH="", TMPDIR=str(copy.parent))
    with processes.started(
        ["python", "-m", "pytest", "-q", "tests/test_more.py"], cwd=copy, env=environment
    ) as process:
        yield process


def started(copy: Path) -> set[tuple[int, int]]:
    """What the test started, once it has: the numbers of processes with the times of their starts."""
    eventually(120, (copy / "started").exists)
    ours = [undertaker.Process(*each) for each in json.loads((copy / "started").read_text())]
    commands = [Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for process in ours]
    assert [name for name in PROGRAMS if not any(name in command for command in commands)] == []
    return {(process.pid, process.started) for process in ours}


def running() -> set[tuple[int, int]]:
    return {(process.pid, process.started) for process in undertaker.processes()}


def test_a_failing_test_leaves_no_process(copy: Path, request: pytest.FixtureRequest) -> None:
    (copy / "tests" / "test_more.py").write_text(TEST.format(seconds=0.2))
    suite = request.getfixturevalue("pytest_in")
    ours = started(copy)
    assert suite.wait(120) == 1
    assert not ours & running()
    assert [path.name for path in copy.parent.iterdir() if path.name.startswith("dop_be-tests")] == []


def test_a_killed_pytest_leaves_no_process(copy: Path, request: pytest.FixtureRequest) -> None:
    (copy / "tests" / "test_more.py").write_text(TEST.format(seconds=600))
    suite = request.getfixturevalue("pytest_in")
    ours = started(copy)
    assert ours <= running()
    suite.kill()
    eventually(60, lambda: not ours & running())


def test_a_command_that_ends_at_once_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known, command = undertaker.identity, ["gunicorn", "--version"]
    processes.run(command)  # the server that forks is there now

    def late(pid: int) -> tuple[int, int]:
        """As on a busy machine: the command is over before anybody looks at it."""
        eventually(30, lambda: pid not in {process.pid for process in undertaker.processes()})
        return known(pid)

    monkeypatch.setattr(undertaker, "identity", late)
    assert "gunicorn" in processes.run(command).stdout


def test_no_port_is_given_twice() -> None:
    """Also not to another test run, whose ports are known by their names among the abstract sockets."""
    ports = [free_port() for _ in range(20)]
    script = "from tests.ports import _reserve; import sys; print([_reserve(int(port)) for port in sys.argv[1:]])"
    assert len(set(ports)) == 20
    assert processes.run(["python", "-c", script, *map(str, ports)]).stdout == f"{[False] * 20}\n"
