"""The servers that are measured: gunicorn with the project's own settings, and a private PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

from tests.postgres import Cluster, execute, free_port
from tests.secured import SecuredCluster

from .figures import children, cpu_seconds

ROOT = Path(__file__).resolve().parent.parent
ADMIN_TOKEN = "benchmark-admin-token-of-more-than-32-characters"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
PATIENCE = 60  # seconds for a server to start, or to end
AnyCluster = TypeVar("AnyCluster", bound=Cluster)
CONNECTIONS = 4  # kept-alive ones that requests come in through


def environment(database_url: str) -> dict[str, str]:
    """Return this process's environment, with what a server or command on the database needs."""
    return os.environ | {
        "DATABASE_URL": database_url,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "LOG_LEVEL": "WARNING",
        "STATE_FILE": "none",
    }


@contextmanager
def postgresql(**settings: str) -> Iterator[Cluster]:
    """Return a private PostgreSQL server, durable as in production."""
    with running(Cluster(**{"fsync": "on", **settings})) as cluster:
        yield cluster


@contextmanager
def secured_postgresql(**settings: str) -> Iterator[SecuredCluster]:
    """Return one that asks for TLS and a password (SCRAM) too."""
    with running(SecuredCluster(**{"fsync": "on", **settings})) as cluster:
        yield cluster


@contextmanager
def running(cluster: AnyCluster) -> Iterator[AnyCluster]:
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def new_database(cluster: Cluster, name: str, tree: Path = ROOT) -> str:
    """Return a migrated database on the cluster; its URL."""
    execute(cluster.url(), f"CREATE DATABASE {name}")
    migrate(cluster.url(name), tree)
    return cluster.url(name)


def migrate(database_url: str, tree: Path = ROOT) -> None:
    flask(database_url, "db", "upgrade", tree=tree)


def flask(database_url: str, *arguments: str, tree: Path = ROOT) -> None:
    """Run a `flask` command in a tree.

    Raises:
        RuntimeError: it failed; what it wrote is the message.
    """
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    done = subprocess.run(command, cwd=tree, env=environment(database_url), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"flask {' '.join(arguments)}: {done.stdout}{done.stderr}")


@dataclass(frozen=True)
class Server:
    """A running gunicorn."""

    master: int
    port: int

    def workers(self) -> list[int]:
        return children(self.master)

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def drive(self, path: str, count: int, *, headers: Mapping[str, str] | None = None) -> list[float]:
        """GET a path `count` times over kept-alive connections; the seconds that each answer took.

        Raises:
            RuntimeError: an answer is not 200.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = pool.map(self._get, *zip(*[(path, count // CONNECTIONS, headers or {})] * CONNECTIONS, strict=True))
            return [seconds for part in parts for seconds in part]

    def cpu_per_request(self, path: str, count: int, *, headers: Mapping[str, str] | None = None) -> float:
        """Seconds of CPU that the one worker spends on a request, the mean of `count`."""
        (worker,) = self.workers()
        before = cpu_seconds(worker)
        self.drive(path, count, headers=headers)
        return (cpu_seconds(worker) - before) / count

    def _get(self, path: str, count: int, headers: Mapping[str, str]) -> list[float]:
        connection = self.connect()
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            response.read()
            taken.append(time.perf_counter() - began)
            if response.status != 200:
                raise RuntimeError(f"{path} answers {response.status}")
        connection.close()
        return taken


@contextmanager
def gunicorn(
    app: str,
    database_url: str,
    *options: str,
    workers: int = 1,
    tree: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    ready: str = "/livez",
) -> Iterator[Server]:
    """Serve `app` (module:name) by the project's gunicorn.conf.py; `options` of the command line win over that.

    `ready` is a path that answers 200 once the server is up.

    Raises:
        RuntimeError: it does not come up.
    """
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    env = environment(database_url) | {"WEB_CONCURRENCY": str(workers), **(variables or {})}
    process = subprocess.Popen([*command, *options, app], cwd=tree, env=env)
    try:
        server = Server(process.pid, port)
        _wait_for(server, ready, workers, process)
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_for(server: Server, path: str, workers: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.drive(path, CONNECTIONS)
            if len(server.workers()) == workers:
                return
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise RuntimeError(f"gunicorn does not answer {path}")
