"""Servers for tests: real processes on a free loopback port, ended by their own id."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from .. import processes
from ..clock import eventually
from ..conftest import ADMIN, ADMIN_TOKEN
from ..ports import free_port

__all__ = ["Server", "eventually", "gunicorn", "serving"]

START_SECONDS = 120.0  # for a machine that is busy


class Server:
    """A web server started by a command that listens on `PORT`; its output is kept in a file."""

    pid_file: Path  # of gunicorn

    def __init__(self, command: Sequence[str], *, cwd: Path | None = None, **environment: str) -> None:
        self.port = free_port()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self.environment = environment
        given = processes.environment(**{"PORT": str(self.port), "ADMIN_TOKEN": ADMIN_TOKEN, **environment})
        arguments = [part.replace("$PORT", str(self.port)) for part in command]
        self._process = processes.start(arguments, cwd=cwd, env=given, stdout=self._output, stderr=self._output)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, path: str = "/livez") -> Server:
        """Wait until something answers.

        Raises:
            RuntimeError: the process ended, or nothing answers for long.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                requests.get(self.url + path, timeout=10)
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return self
        raise RuntimeError(f"the server did not start: {self.log()}")

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """A request over a connection of its own, so that any worker may answer it."""
        return requests.request(method, self.url + path, **{"timeout": 60, **arguments})

    def get(self, path: str, **arguments: Any) -> requests.Response:
        return self.request("GET", path, **arguments)

    def patch(self, **settings: Any) -> requests.Response:
        """Write settings as the administrator, whatever the revision."""
        return self.request("PATCH", "/api/v1/settings", json=settings, headers={**ADMIN, "If-Match": "*"})

    def log(self) -> str:
        """What the server printed so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def workers(self) -> list[int]:
        """The processes that this one started."""
        return children(self.pid)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, sent: signal.Signals = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Ask the process to end, and wait; its exit code. Stopping again does nothing.

        Raises:
            subprocess.TimeoutExpired: it did not end, and was killed.
        """
        if self._process.poll() is None:
            self._process.send_signal(sent)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            processes.end(self._process)
            raise

    def close(self) -> None:
        """End the process and whatever it has left behind."""
        try:
            self.stop()
        finally:
            processes.end(self._process)
            self._output.close()


def children(pid: int) -> list[int]:
    """The processes that one started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def serving(
    command: Sequence[str], *, path: str = "/livez", cwd: Path | None = None, **environment: str
) -> Iterator[Server]:
    """Run a command as a server for the block; `$PORT` in its arguments is replaced."""
    server = Server(command, cwd=cwd, **environment)
    try:
        yield server.wait(path)
    finally:
        server.close()


@contextmanager
def gunicorn(
    database_url: str, *arguments: str, workers: int = 1, cwd: Path | None = None, **environment: str
) -> Iterator[Server]:
    """gunicorn as in production, with the project's gunicorn.conf.py, for the block."""
    directory = processes.folder("pid")
    command = ["gunicorn", "--bind", "127.0.0.1:$PORT", "--pid", str(directory / "gunicorn.pid"), *arguments]
    given: dict[str, Any] = {"DATABASE_URL": database_url, "WEB_CONCURRENCY": str(workers)}
    given |= {"STATE_FILE": "none", **environment}  # a test's database may have the name of an earlier one
    with serving(command, cwd=cwd, **given) as server:
        server.pid_file = directory / "gunicorn.pid"
        eventually(START_SECONDS, lambda: len(server.workers()) == workers)  # the first one may have answered
        yield server
