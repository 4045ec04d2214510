"""A private PostgreSQL cluster for tests, which may be stopped, killed and frozen at will."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from . import processes
from .ports import free_port

__all__ = ["Cluster", "binaries", "connections_used_up", "dump", "execute", "free_port", "is_running", "unprivileged"]

VERSIONS = Path("/usr/lib/postgresql")
GIVEN_BINARIES = "TEST_POSTGRESQL_BINARIES"  # `make test-postgres` names a folder of another version there
MEMORY = Path("/dev/shm")
ROOMY = 2**30  # bytes; in a container it may have 64 MB
START_SECONDS = 120.0
# A session waits for another one's lock in the database that is asked: a server is shared, and pg_locks tells of all.
WAITING = (
    "SELECT pid FROM pg_locks WHERE NOT granted AND pid IN"
    " (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
)


def binaries() -> Path:
    """The folder of initdb and postgres.

    Raises:
        RuntimeError: PostgreSQL's server programs are not installed.
    """
    if given := os.environ.get(GIVEN_BINARIES):
        return Path(given)
    installed = sorted(VERSIONS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True)
    found = str(installed[0]) if installed else shutil.which("initdb")
    if found is None:
        raise RuntimeError("PostgreSQL's server is not installed: run `make system`, or set TEST_DATABASE_URL")
    return Path(found).parent


def dump(url: str, *options: str) -> str:
    """What pg_dump writes; skips the test where its version is older than the server's, which it refuses to read."""
    beside = binaries() / "pg_dump"
    program = str(beside) if beside.exists() else "pg_dump"
    version = processes.run([program, "--version"]).stdout.split()[2]
    [(server,)] = execute(url, "SHOW server_version_num")
    if int(version.partition(".")[0]) < int(server) // 10000:
        pytest.skip(f"pg_dump {version} reads no newer server, and this one is {int(server) // 10000}")
    return processes.run([program, *options, url]).stdout


def unprivileged() -> dict[str, Any]:
    """How to start PostgreSQL's programs: as another user where we are root, since it refuses root."""
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def is_running(process: int) -> bool:
    """Whether it still runs: a zombie that its new parent has not buried yet holds nothing any more."""
    return state(process) not in {"", "Z"}


def state(process: int) -> str:
    """The letter of a process's state (proc(5), /proc/pid/stat), T where it is stopped; nothing where it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]


class Cluster:
    """One server on a free loopback port, with the superuser `postgres` and no passwords; its files are in memory.

    What a server that writes to disk (fsync) promises is kept there too: a killed process takes no file along.
    """

    def __init__(self, **settings: str) -> None:
        self._as = unprivileged()
        in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOMY
        self._directory = processes.folder("postgres", parent=str(MEMORY) if in_memory else None)
        self._data, self.log = self._directory / "data", self._directory / "log"
        # mmap: what is shared lies in the data folder too, and goes with it when the server was killed.
        own = {"dynamic_shared_memory_type": "mmap", "unix_socket_directories": str(self._directory)}
        self._settings = {"fsync": "off", **own, **settings}
        self._process: processes.Popen | None = None
        self.port = free_port()
        if self._as:
            os.chown(self._directory, self._as["user"], self._as["group"])
        self._fill()

    def _fill(self) -> None:
        """Make the data folder."""
        how = ["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync"]
        self._run("initdb", "-D", self._data, *how)

    def _run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs to its end, as the server's user."""
        processes.run([binaries() / program, *arguments], cwd=self._directory, **self._as)

    def start(self) -> None:
        """Start it, and wait until it takes connections.

        Raises:
            RuntimeError: it ended instead.
        """
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", **self._settings}
        given: list[str | Path] = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [binaries() / "postgres", "-D", self._data, *given]
        with self.log.open("ab") as log:
            self._process = processes.start(command, cwd=self._directory, stdout=log, stderr=log, **self._as)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()}")
            time.sleep(0.005)

    def _ready(self) -> bool:
        """Whether postmaster.pid says so, in its eighth line, where pg_ctl looks for it too."""
        with suppress(FileNotFoundError, IndexError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == self._postmaster and lines[7].strip() == "ready"
        return False

    @property
    def _postmaster(self) -> int:
        assert self._process is not None, "this server was never started"
        return self._process.pid

    def stop(self, mode: str = "fast") -> None:
        """Stop it as pg_ctl does: `smart`, `fast` or `immediate`."""
        assert self._process is not None, "this server was never started"
        self._process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self._process.wait(START_SECONDS)
        processes.end(self._process)

    def kill(self) -> None:
        """End every process of the server with SIGKILL, as a crashed machine would."""
        assert self._process is not None, "this server was never started"
        processes.end(self._process)
        self._release_memory()
        for lock in (self._data / "postmaster.pid", *self._directory.glob(".s.PGSQL.*")):
            lock.unlink()

    def freeze(self) -> None:
        """Stop every process of the server, as a hanging machine would; its kernel still takes connections."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._signal(signal.SIGSTOP)
            # The signal takes a moment, and until it has stopped the postmaster may start another process.
            if {state(process) for process in self.processes()} <= {"T", "Z", ""}:
                return
        raise RuntimeError("PostgreSQL did not stop")

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def recover(self) -> None:
        """Have the next start recover from an archive, after which a new timeline begins."""
        self._touch("recovery.signal")

    def _touch(self, name: str) -> None:
        """Make an empty file in the data folder."""
        (self._data / name).touch()
        if self._as:
            os.chown(self._data / name, self._as["user"], self._as["group"])

    def repair(self) -> None:
        """Have the server run, whatever was done to it."""
        if self._runs():
            self.thaw()
        else:
            self.start()

    def remove(self) -> None:
        """End the server, whatever state it is in, and delete its files."""
        if self._process is not None:
            processes.end(self._process)
            self._release_memory()
        shutil.rmtree(self._directory)

    def _release_memory(self) -> None:
        """Remove what a killed server leaves with the system: postmaster.pid has its number, of few that there are."""
        with suppress(FileNotFoundError, IndexError):
            _, number = (self._data / "postmaster.pid").read_text().splitlines()[6].split()
            processes.run(["ipcrm", "--shmem-id", number], check=False)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        children = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children").read_text().split()
        return [self._postmaster, *map(int, children)]

    def _signal(self, sent: signal.Signals) -> None:
        for process in self.processes():
            with suppress(ProcessLookupError):  # a connection's process may just have ended
                os.kill(process, sent)


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
