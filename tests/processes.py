"""The one way for tests to start a process: in a copy of the project, with an environment of its own, until it ends.

A process inherits nothing from the developer: its environment is `environment`, its folder is a copy of the project
without `.env` or `instance/`, and `guard` is with it. It leads a session; `undertaker` ends the sessions that are left
when the test run ends, however that comes about.
"""

from __future__ import annotations

import atexit
import compileall
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import forked, undertaker
from .guard import sitecustomize as guard

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
KEPT = ("PATH", "TMPDIR", "TERM", "COLUMNS", "CI", "SCREENSHOTS")  # what tests may see of the developer's environment
PREFIXES = ("PYTEST_", "COVERAGE_", "TEST_", "DOP_BE_TESTS_")
Popen = subprocess.Popen[Any]
_started: dict[int, tuple[Popen, tuple[int, int]]] = {}  # by number, with what `undertaker` knows them by
_telling, _serving = threading.Lock(), threading.Lock()


def environment(**given: str) -> dict[str, str]:
    """The whole environment of a process that a test starts."""
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin",
        "HOME": str(home()),
        "LANG": "C.UTF-8",
        **guard.variables(ROOT),
        **given,
    }


def copy_project(into: Path) -> Path:
    """Copy the files of the project as git has them: what .gitignore names stays behind."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    shutil.copytree(ROOT, into, ignore=shutil.ignore_patterns(".git", *ignored), symlinks=True, dirs_exist_ok=True)
    return into


@functools.cache
def project() -> Path:
    """The copy that processes run in which change nothing there."""
    if given := os.environ.get("DOP_BE_TESTS_PROJECT"):  # the process that shares the tests out has made it
        return Path(given)
    path = copy_project(folder("project") / "dop_be")
    compileall.compile_dir(path, quiet=1)
    os.environ["DOP_BE_TESTS_PROJECT"] = str(path)
    return path


def isolate() -> None:
    """Take the developer's environment away from this process, and guard it."""
    for name in set(os.environ) - {*KEPT}:
        if not name.startswith(PREFIXES):
            del os.environ[name]
    os.environ |= {"HOME": str(home()), "LANG": "C.UTF-8"}
    guard.install(ROOT)


@functools.cache
def home() -> Path:
    return folder("home")


def folder(purpose: str, *, parent: str | None = None) -> Path:
    """A new folder that is deleted with the end of this process."""
    path = Path(tempfile.mkdtemp(prefix=f"dop_be-tests-{purpose}-", dir=parent))
    _tell(f"folder {path}")
    return path


def start(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, **options: Any
) -> Popen:
    """Start a process at the head of a session of its own; `end` it."""
    words, where, given = [str(part) for part in command], cwd or project(), environment() if env is None else dict(env)
    process: Popen
    if forked.suits(words, given, options):
        with _serving:  # threads that start several at once must not make a server each
            server = _fork_server()
        process = forked.Forked(server, words, str(where), given, **options)
        identity = process.identity
    else:
        process = subprocess.Popen(words, cwd=where, env=given, start_new_session=True, **options)
        identity = undertaker.identity(process.pid)
    _started[process.pid] = process, identity
    _tell("+{} {}".format(*identity))
    return process


@functools.cache
def _fork_server() -> socket.socket:
    """The socket to ask `forkserver` by, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        start([sys.executable, Path(__file__).with_name("forkserver.py"), str(number)], pass_fds=[number])
    return ours


def end(process: Popen) -> None:
    """Kill what is left of this process, with all that it has started."""
    if process.pid in _started:
        _, identity = _started.pop(process.pid)
        undertaker.end([identity])
        process.wait()
        _tell("-{} {}".format(*identity))


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[Popen]:
    """Run a process for the block."""
    process = start(command, **options)
    try:
        yield process
    finally:
        end(process)


def run(
    command: Sequence[str | Path], *, check: bool = True, timeout: float = 300, stdin: str | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with what it prints.

    Raises:
        AssertionError: it failed, and `check` is on.
    """
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pipes["stdin"] = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    with started(command, **pipes, **options) as process:
        output, errors = process.communicate(stdin, timeout)
    assert not check or process.returncode == 0, f"{command} exited with {process.returncode}: {output}{errors}"
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@functools.cache
def _undertaker() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", undertaker.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={},
    )
    atexit.register(bury)
    return process


def _tell(line: str) -> None:
    with _telling:
        pipe = _undertaker().stdin
        assert pipe is not None
        pipe.write(f"{line}\n")
        pipe.flush()


def bury() -> None:
    """End all that is left, and delete the folders."""
    if _undertaker.cache_info().currsize:
        if _fork_server.cache_info().currsize:
            _fork_server().close()
            _fork_server.cache_clear()
        process = _undertaker()
        _undertaker.cache_clear()
        process.communicate()
        while _started:
            _started.popitem()[1][0].wait()
