"""Fixtures: databases of both kinds, migrated once and copied for each test, and the application on them."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from config import ROOT, Config
from dop_be import create_app
from dop_be.live import Live

from .postgres import Cluster, execute

ADMIN_TOKEN = "test-admin-token-of-more-than-32-characters"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
TEMPLATE = "dop_be_template"
RUNTIME_ROLE = os.environ.get("TEST_RUNTIME_ROLE")  # the applications on PostgreSQL run in it, see access/test_roles.py


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


def grant(url: str, role: str) -> None:
    """Let this role run the service, as the documentation says."""
    command = ["psql", "-q", "-v", f"runtime={role}", "-f", str(ROOT / "deploy" / "grants.sql"), url]
    subprocess.run(command, check=True)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No test sees this machine's own settings."""
    with pytest.MonkeyPatch.context() as patch:
        for line in (ROOT / ".env.example").read_text().splitlines():
            if line and not line.startswith("#"):
                patch.delenv(line.partition("=")[0], raising=False)
        patch.setenv("FLASK_SKIP_DOTENV", "1")
        yield


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server to make databases on: TEST_DATABASE_URL's, or a private one."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster.url()
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def empty_postgresql(server_url: str) -> Iterator[Callable[..., str]]:
    """Makes databases; the name of a template is optional."""
    numbers = itertools.count()
    made: list[str] = []

    def make(template: str = "template1") -> str:
        name = f"dop_be_test_{os.getpid()}_{next(numbers)}"
        execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
        made.append(name)
        return make_url(server_url).set(database=name).render_as_string(hide_password=False)

    yield make
    for name in made if "TEST_DATABASE_URL" in os.environ else ():  # a private server goes as a whole
        execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_postgresql(empty_postgresql: Callable[..., str]) -> str:
    url = empty_postgresql()
    migrate(url)
    if RUNTIME_ROLE:
        grant(url, RUNTIME_ROLE)
    return str(make_url(url).database)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "template.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(empty_postgresql: Callable[..., str], migrated_postgresql: str) -> str:
    """A migrated PostgreSQL database of this test's own."""
    return empty_postgresql(template=migrated_postgresql)


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of this test's own."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'dop_be.sqlite3')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of this test's own: the test runs on both kinds."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def breakable_cluster() -> Iterator[tuple[Cluster, str]]:
    """A server to break, with the name of a migrated database to copy; it writes to disk before it acknowledges."""
    cluster = Cluster(fsync="on", max_connections="40")
    try:
        cluster.start()
        execute(cluster.url(), f"CREATE DATABASE {TEMPLATE}")
        migrate(cluster.url(TEMPLATE))
        yield cluster, TEMPLATE
    finally:
        cluster.remove()


@pytest.fixture
def cluster(breakable_cluster: tuple[Cluster, str]) -> Iterator[Cluster]:
    """A server that this test may stop, kill and freeze; it is whole again afterwards."""
    cluster, _ = breakable_cluster
    yield cluster
    cluster.repair()


@pytest.fixture
def breakable_url(cluster: Cluster, breakable_cluster: tuple[Cluster, str]) -> str:
    """A migrated database of this test's own on `cluster`."""
    name = f"test_{secrets.token_hex(6)}"
    execute(cluster.url(), f"CREATE DATABASE {name} TEMPLATE {breakable_cluster[1]}")
    return cluster.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of this test's own with nothing in it: the test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    url: str = request.getfixturevalue("empty_postgresql")()
    return url


@pytest.fixture
def make_app() -> Iterator[Callable[..., Flask]]:
    """Builds applications on a URL, with changed configuration; their threads and connections end with the test."""
    made: list[Flask] = []

    def make(url: str, **changes: Any) -> Flask:
        if RUNTIME_ROLE and url.startswith("postgresql"):
            url = make_url(url).set(username=RUNTIME_ROLE).render_as_string(hide_password=False)
        app = create_app(configuration(url, **changes))
        app.testing = True
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["live"].stop()


@pytest.fixture
def app(make_app: Callable[..., Flask], database_url: str) -> Flask:
    """The application with its state read, and no watcher: a test refreshes when it means to."""
    app = make_app(database_url)
    assert app.extensions["live"].refresh()
    return app


@pytest.fixture
def live(app: Flask) -> Live:
    state: Live = app.extensions["live"]
    return state


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def cli(app: Flask) -> FlaskCliRunner:
    return app.test_cli_runner()


@pytest.fixture
def sql(database_url: str) -> Iterator[Callable[..., list[Any]]]:
    """Runs SQL around the application, each call in its own transaction; rows as dictionaries."""
    url = database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = create_engine(url)

    def run(statement: str, **values: Any) -> list[Any]:
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    yield run
    engine.dispose()
