"""The system under test: hosts behind a proxy, and a database that is reached by one of several ways."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2.extras
from sqlalchemy.engine import make_url

from .. import processes
from ..e2e.proxies import Proxy as Edge
from ..e2e.visitors import Recorder as Platform
from ..far import Proxy as Network
from ..far import proxied
from ..pgbouncer import Pooler
from ..postgres import Cluster, binaries, unprivileged
from ..replication import Replica
from .hosts import Host
from .plan import HOSTS, Plan
from .record import Epoch, now
from .templates import DATABASE, Cloned, Template

COLUMNS = "id, kind, key, revision, action, {at} AS changed_at, changed_by, source, reason, request_id, changes, {all}"
CHANGES = f"SELECT {COLUMNS} FROM changes ORDER BY id"
BY_POSTGRESQL = CHANGES.format(at="extract(epoch FROM changed_at)::float8", all='"values"')
BY_SQLITE = CHANGES.format(at="(julianday(changed_at) - 2440587.5) * 86400.0", all='"values"')
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
Changes = Callable[[], list[dict[str, Any]]]


@dataclass
class Life:
    """One life of the database; `changes` reads them when it is over, or at the end of the run."""

    why: str
    begin: float
    end: float
    kept: float
    lossless: bool
    changes: Changes


@dataclass
class System:
    """What a plan runs on. The fields that a topology lacks are None or empty."""

    folder: Path
    project: Path
    hosts: dict[str, Host] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    file: Path | None = None
    primary: Cluster | None = None
    replica: Replica | None = None
    pooler: Pooling | None = None
    networks: dict[str, list[Network]] = field(default_factory=dict)
    edge: Edge | None = None

    @property
    def url(self) -> str:
        """The database itself, without anything in between."""
        return f"sqlite:///{self.file}" if self.primary is None else self.primary.url(DATABASE)

    @property
    def server(self) -> Cluster:
        """The server that is the primary now; ask for it only where there is one."""
        assert self.primary is not None
        return self.primary

    def epochs(self) -> Iterator[Epoch]:
        """What every life of the database has in its history."""
        for number, life in enumerate(self.lives):
            yield Epoch(number, life.why, life.begin, life.end, life.kept, life.lossless, life.changes())

    def begin_life(self, why: str, began: float, kept: float, *, lossless: bool = False) -> None:
        """Note that another copy of the database is in force from now on, and was perhaps since `began`."""
        url, ended = self.url, now()
        self.lives.append(Life(why, began, ended, kept, lossless, lambda: changes(url)))


def changes(url: str) -> list[dict[str, Any]]:
    """The rows of the history, oldest first."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.row_factory = sqlite3.Row
            rows = [dict(row) for row in file.execute(BY_SQLITE)]
        return [row | {name: json.loads(row[name] or "null") for name in ("changes", "values")} for row in rows]
    with (
        closing(psycopg2.connect(url)) as connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute(BY_POSTGRESQL)
        return [dict(row) for row in cursor.fetchall()]


class Pooling:
    """A PgBouncer that may be killed and started again."""

    def __init__(self, url: str) -> None:
        self._pooler = Pooler(url)
        self.url = self._pooler.url

    def start(self) -> None:
        command: list[str | Path] = ["pgbouncer", "--quiet", self._pooler.configuration]
        null = subprocess.DEVNULL
        self._process = processes.start(command, stdout=null, stderr=null, **unprivileged())
        self._pooler.wait()

    def kill(self) -> None:
        processes.end(self._process)

    def restart(self) -> None:
        """Have it end as its service file would, and start it anew."""
        self._process.terminate()
        self._process.wait(30)
        self.kill()
        self.start()


@contextmanager
def built(plan: Plan, made: Template, folder: Path) -> Iterator[System]:
    """Run the system of a plan for the block, with a copy of the template `made` where it needs a server."""
    system = System(folder, made.project)
    with ExitStack() as stack:
        environments = WAYS[plan.topology](system, plan.options, made, stack)
        system.begin_life("start", now(), now())
        for name, environment in environments.items():
            host = system.hosts[name] = Host(name, folder, made.project, environment)
            stack.callback(host.stop)
            host.start()
        platform = Platform(lambda _: (200, {}))
        stack.callback(platform.server_close)
        stack.callback(platform.shutdown)
        first, *others = [host.port for host in system.hosts.values()]
        edge = Edge("nginx", folder / "nginx", platform.server_port, first, second=others[0] if others else 0)
        system.edge = stack.enter_context(edge.running())
        yield system


Way = Callable[[System, Mapping[str, Any], Template, ExitStack], dict[str, dict[str, str]]]


def _server(system: System, made: Template, stack: ExitStack) -> Cluster:
    cluster = system.primary = Cloned(made.data, max_connections="40", superuser_reserved_connections="3")
    stack.callback(cluster.remove)
    cluster.start()
    return cluster


def _networked(system: System, name: str, url: str, stack: ExitStack) -> Network:
    network = stack.enter_context(proxied(url))
    system.networks.setdefault(name, []).append(network)
    return network


def _direct(system: System, options: Mapping[str, Any], made: Template, stack: ExitStack) -> dict[str, dict[str, str]]:
    url = _server(system, made, stack).url(DATABASE)
    return {name: {"DATABASE_URL": _networked(system, name, url, stack).url} for name in HOSTS}


def _pooler(system: System, options: Mapping[str, Any], made: Template, stack: ExitStack) -> dict[str, dict[str, str]]:
    """Through PgBouncer; changes are heard directly or, where the plan has no LISTEN, polled for."""
    url = _server(system, made, stack).url(DATABASE)
    system.pooler = Pooling(url)
    system.pooler.start()
    stack.callback(system.pooler.kill)
    environments = {}
    for name in HOSTS:
        environments[name] = {"DATABASE_URL": _networked(system, name, system.pooler.url, stack).url}
        if options["listen"]:
            environments[name]["LISTEN_DATABASE_URL"] = _networked(system, name, url, stack).url
    return environments


def _pair(system: System, options: Mapping[str, Any], made: Template, stack: ExitStack) -> dict[str, dict[str, str]]:
    primary = _server(system, made, stack)
    replica = system.replica = Replica(primary, synchronous=options["synchronous"])
    stack.callback(replica.remove)
    replica.start()
    environments = {}
    for name in HOSTS:
        ways = [_networked(system, name, cluster.url(DATABASE), stack) for cluster in (primary, replica)]
        servers = ",".join(f"127.0.0.1:{make_url(way.url).port}" for way in ways)
        url = f"postgresql://postgres@{servers}/{DATABASE}?target_session_attrs=read-write"
        environments[name] = {"DATABASE_URL": url}
    return environments


def _sqlite(system: System, options: Mapping[str, Any], made: Template, stack: ExitStack) -> dict[str, dict[str, str]]:
    system.file = system.folder / "platform.sqlite3"
    made.migrate(system.url)
    return {"A": {"DATABASE_URL": system.url}}


WAYS: dict[str, Way] = {"direct": _direct, "pooler": _pooler, "pair": _pair, "sqlite": _sqlite}


def sql(system: System, text: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run statements in one transaction as an operator does, with psql.

    Raises:
        subprocess.TimeoutExpired: it does not end within so many seconds.
    """
    beside = binaries() / "psql"
    program = str(beside) if beside.exists() else "psql"
    command = [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", system.url, "-c", text]
    environment = processes.environment(PGCONNECT_TIMEOUT="3")
    return processes.run(command, check=False, timeout=seconds, env=environment)
