"""What all the processes of one test run share: a PostgreSQL server, and a migrated database of each kind to copy.

Made when it is first wanted; where pytest-xdist shares out the tests, by the process that does, which hands it on to
its workers in the environment.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flask_migrate
from sqlalchemy.engine import make_url

from config import Config
from dop_be import create_app
from dop_be.live import Live
from dop_be.live.snapshot import Snapshot

from . import processes
from .guard import sitecustomize as guard
from .postgres import Cluster, execute

ADMIN_TOKEN = "test-admin-token-of-more-than-32-characters"
RUNTIME_ROLE = os.environ.get("TEST_RUNTIME_ROLE")  # the applications on PostgreSQL run in it, see access/test_roles.py
OWN_SERVER = "TEST_DATABASE_URL"
_numbers = itertools.count()
_made: list[str] = []


def handed_on(make: Callable[[], str]) -> Callable[[], str]:
    """Make it once in a whole test run."""
    name = f"DOP_BE_TESTS_{make.__name__.upper()}"

    @functools.cache
    def shared() -> str:
        if name not in os.environ:
            os.environ[name] = make()
        return os.environ[name]

    return shared


def make_all() -> None:
    for make in (processes.project, server, postgresql, sqlite):
        make()


@handed_on
def server() -> str:
    """The URL of a PostgreSQL server to make databases on: TEST_DATABASE_URL's, or a private one."""
    if given := os.environ.get(OWN_SERVER):
        return given
    cluster = Cluster(autovacuum="off", max_connections="200")
    cluster.start()
    return cluster.url()


def allowed_server() -> str:
    """The same, where the guard lets this process connect to it."""
    url = make_url(server())
    guard.servers.add(f"{url.host or ''}:{url.port or 5432}")
    return server()


def create(template: str = "template1") -> str:
    """Make a database, and return its URL."""
    name = f"dop_be_test_{os.getpid()}_{next(_numbers)}"
    execute(allowed_server(), f"CREATE DATABASE {name} TEMPLATE {template}")
    _made.append(name)
    return make_url(server()).set(database=name).render_as_string(hide_password=False)


def drop(*names: str | None) -> None:
    for name in names:
        execute(allowed_server(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def drop_all() -> None:
    """Leave nothing on a server of somebody's own; a private one goes as a whole."""
    if OWN_SERVER in os.environ:
        drop(*_made)


@handed_on
def postgresql() -> str:
    """The name of a migrated database that is only copied."""
    url = create()
    migrate(url)
    if RUNTIME_ROLE:
        grant(url, RUNTIME_ROLE)
    return str(make_url(url).database)


@handed_on
def sqlite() -> str:
    """The path of a migrated file that is only copied."""
    path = processes.folder("sqlite") / "template.sqlite3"
    migrate(f"sqlite:///{path}")
    return str(path)


def configuration(url: str, **changes: Any) -> Config:
    """The configuration for a database URL, without a look at this machine's environment."""
    database = make_url(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    config = Config(SQLALCHEMY_DATABASE_URI=database, LISTEN_DATABASE_URI=database, ADMIN_TOKEN=ADMIN_TOKEN)
    return replace(config, **changes)


def migrate(url: str) -> None:
    app = create_app(configuration(url))
    with app.app_context():
        flask_migrate.upgrade()
    app.extensions["live"].stop()


def snapshot_of(live: Live) -> Snapshot:
    """The snapshot in force; where nothing was read yet, start the watcher and wait for its first reading."""
    if live.snapshot is None:
        live.start()
    assert live.snapshot is not None
    return live.snapshot


def grant(url: str, role: str) -> None:
    """Let this role run the service, as the documentation says."""
    script = processes.project() / "deploy" / "grants.sql"
    processes.run(["psql", "-q", "-v", f"runtime={role}", "-f", script, url])
