"""Fixtures: databases of both kinds, put back or copied for each test, and the application on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from . import processes

processes.isolate()  # before anything else is imported that might read the environment

import config  # noqa: E402
from dop_be import create_app, database, deadline, postgresql  # noqa: E402
from dop_be.live import Live  # noqa: E402

from . import shared  # noqa: E402
from .databases import Kept  # noqa: E402
from .postgres import Cluster, execute  # noqa: E402
from .shared import ADMIN_TOKEN, RUNTIME_ROLE, configuration, grant, migrate  # noqa: E402

__all__ = ["ADMIN", "ADMIN_TOKEN", "configuration", "grant", "migrate"]

config.ENV_FILE = processes.home() / "no .env"
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("suite"), max_examples=5000)
settings.load_profile("suite")

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
TEMPLATE = "dop_be_template"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Leave nothing in the temporary folder either; --basetemp keeps the files of the tests."""
    if not config.option.basetemp:
        config.option.basetemp = processes.folder("tmp")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half of the time a test waits: for a process, a server or a clock."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """pytest-xdist starts its workers next."""
    shared.make_all()


def pytest_unconfigure() -> None:
    shared.drop_all()
    processes.bury()


@pytest.fixture(autouse=True)
def unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give databases ten times as long, since a busy machine lets them wait too.

    Not where a test breaks a server or is marked `limits`: it looks at what happens after the service's real limits.
    """
    marker = request.node.get_closest_marker("limits")
    if "cluster" not in request.fixturenames and (marker is None or marker.kwargs.get("unhurried")):
        monkeypatch.setattr(deadline, "SECONDS", 10 * deadline.SECONDS)
        monkeypatch.setattr(postgresql, "STATEMENT_LIMIT", 10 * postgresql.STATEMENT_LIMIT)
        monkeypatch.setattr(database, "LOCK_LIMIT", 10 * database.LOCK_LIMIT)


@pytest.fixture(scope="session")
def server_url() -> str:
    """A PostgreSQL server to make databases on: TEST_DATABASE_URL's, or a private one."""
    return shared.allowed_server()


@pytest.fixture(scope="session")
def empty_postgresql() -> Callable[..., str]:
    """Makes databases; the name of a template is optional."""
    return shared.create


@pytest.fixture(scope="session")
def migrated_postgresql() -> str:
    """The name of a migrated database to copy."""
    return shared.postgresql()


@pytest.fixture(scope="session")
def migrated_sqlite() -> Path:
    return Path(shared.sqlite())


@pytest.fixture(scope="session")
def kept_postgresql(server_url: str, migrated_postgresql: str) -> Iterator[Kept]:
    name = f"dop_be_test_{os.getpid()}_kept"
    yield Kept(server_url, migrated_postgresql, name)
    shared.drop(name)


@pytest.fixture
def postgresql_url(kept_postgresql: Kept) -> str:
    """A migrated PostgreSQL database of this test's own."""
    return kept_postgresql.as_at_first()


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of this test's own."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'dop_be.sqlite3')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of this test's own: the test runs on both kinds."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def own_postgresql() -> Iterator[str]:
    """A PostgreSQL database of this test's own with nothing in it."""
    url = shared.create()
    yield url
    shared.drop(make_url(url).database)


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


@pytest.fixture(scope="session")
def kept_breakable(breakable_cluster: tuple[Cluster, str]) -> Kept:
    cluster, template = breakable_cluster
    return Kept(cluster.url(), template, "dop_be_test")


@pytest.fixture
def breakable_url(cluster: Cluster, kept_breakable: Kept) -> str:
    """A migrated database of this test's own on `cluster`."""
    return kept_breakable.as_at_first()


@pytest.fixture
def own_breakable(cluster: Cluster) -> Iterator[str]:
    """A database of this test's own with nothing in it, on `cluster`."""
    execute(cluster.url(), "CREATE DATABASE empty")
    yield cluster.url("empty")
    cluster.repair()
    execute(cluster.url(), "DROP DATABASE empty WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of this test's own with nothing in it: the test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    url: str = request.getfixturevalue("own_postgresql")
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
