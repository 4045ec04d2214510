"""A private PostgreSQL cluster for tests, which may be stopped, killed and frozen at will."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2

VERSIONS = Path("/usr/lib/postgresql")


def binaries() -> Path:
    """The folder of initdb and pg_ctl.

    Raises:
        RuntimeError: PostgreSQL's server programs are not installed.
    """
    installed = sorted(VERSIONS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True)
    found = str(installed[0]) if installed else shutil.which("initdb")
    if found is None:
        raise RuntimeError("PostgreSQL's server is not installed: run `make system`, or set TEST_DATABASE_URL")
    return Path(found).parent


def unprivileged() -> dict[str, Any]:
    """How to start PostgreSQL's programs: as another user where we are root, since it refuses root."""
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_running(process: int) -> bool:
    """Whether it still runs: a zombie that its new parent has not buried yet holds nothing any more."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Cluster:
    """One server on a free loopback port, with the superuser `postgres` and no passwords."""

    def __init__(self, **settings: str) -> None:
        self._as = unprivileged()
        self._directory = Path(tempfile.mkdtemp(prefix="dop_be-postgres-"))
        self._data, self.log = self._directory / "data", self._directory / "log"
        self._settings = {"fsync": "off", "unix_socket_directories": str(self._directory), **settings}
        self.port = free_port()
        if self._as:
            os.chown(self._directory, self._as["user"], self._as["group"])
        self._run("initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust")

    def start(self) -> None:
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", **self._settings}
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self.log, "-o", given)

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", self._data)

    def kill(self) -> None:
        """End every process of the server with SIGKILL, as a crashed machine would."""
        processes = self.processes()
        for process in processes:
            os.kill(process, signal.SIGKILL)
        while any(map(is_running, processes)):
            time.sleep(0.01)
        for lock in (self._data / "postmaster.pid", *self._directory.glob(".s.PGSQL.*")):
            lock.unlink()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def repair(self) -> None:
        """Have the server run, whatever was done to it."""
        if self._runs():
            self.thaw()
        else:
            self.start()

    def remove(self) -> None:
        """End the server, whatever state it is in, and delete its files."""
        if self._runs():
            self.thaw()
            self.stop("immediate")
        shutil.rmtree(self._directory)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def _runs(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        postmaster = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def _signal(self, sent: signal.Signals) -> None:
        for process in self.processes():
            with suppress(ProcessLookupError):  # a connection's process may just have ended
                os.kill(process, sent)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(binaries() / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._directory, check=False, **self._as)
        if done.returncode != 0:
            log = self.log.read_text() if self.log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr}{log}")


@contextmanager
def connections_used_up(url: str) -> Iterator[Callable[[], None]]:
    """Take every connection that the server has left, for the block; again with what this yields."""
    with ExitStack() as stack:

        def use_up() -> None:
            with suppress(psycopg2.OperationalError):
                while True:
                    stack.callback(psycopg2.connect(url).close)

        use_up()
        yield use_up


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL as psql would, each statement in its own transaction; the rows of the last one."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()
