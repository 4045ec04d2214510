"""The suite touches only what it started, whatever `.env` and the environment say."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import psycopg2
import pytest

from .. import processes
from ..guard.sitecustomize import Refused
from ..postgres import execute
from ..processes import ROOT

REFUSED = [
    "postgresql://127.0.0.1:5432/victim",
    "postgresql://127.0.0.1/victim",
    "postgresql:///victim",  # libpq would look for the machine's own server
    "postgresql://db.example/victim",
    "postgresql://127.0.0.1:1,db.example:1/victim",
    "postgresql://%2Fvar%2Frun%2Fpostgresql/victim",
    "service=platform",
]


@pytest.mark.parametrize("url", REFUSED)
def test_another_database_server_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="only what they started"):
        psycopg2.connect(url)


@pytest.mark.parametrize("url", REFUSED)
def test_a_process_refuses_another_database_server(url: str) -> None:
    script = f"import psycopg2; psycopg2.connect({url!r})"
    done = processes.run(["python", "-c", script], check=False)
    assert (done.returncode, "only what they started" in done.stderr) == (1, True)


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("127.0.0.1", 5432), ("localhost", 80)])
def test_another_server_is_refused(address: tuple[str, int]) -> None:
    with socket.socket() as client, pytest.raises(Refused):
        client.connect(address)


def test_a_server_of_this_process_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


@pytest.mark.parametrize("name", ["instance/dop_be.sqlite3", "x.sqlite3"])
def test_a_database_of_the_developers_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path in (name, ROOT / name, f"file:{ROOT / name}?mode=ro"):
        with pytest.raises(Refused):
            sqlite3.connect(path, uri=True)


def test_the_developers_env_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path in (".env", ROOT / ".env"):
        with pytest.raises(Refused):
            Path(path).read_text()


def test_a_process_sees_nothing_of_the_developers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "PGHOST", "FLASK_APP", "GUNICORN_CMD_ARGS"):
        monkeypatch.setenv(name, "the developer's")
    assert "the developer's" not in processes.run(["env"]).stdout


def test_a_part_of_the_suite_leaves_the_database_of_env_alone(own_postgresql: str, tmp_path: Path) -> None:
    """In a copy of the repository whose .env, like the environment, names a database that is not the suite's."""
    copy = processes.copy_project(tmp_path / "dop_be")
    (copy / ".env").write_text(f"DATABASE_URL={own_postgresql}\nADMIN_TOKEN={'a' * 40}\nPORT=1\nLOG_LEVEL=LOUD\n")
    execute(own_postgresql, "CREATE TABLE customers (id int)")
    parts = [
        "tests/e2e/test_procfile.py::test_release_migrates_and_web_serves",
        "tests/web/test_gate.py::TestApplication::test_a_shell_ends_it_with_no_web_process",
        "tests/test_columns.py",
    ]
    given = {"PYTHONPATH": "", "DATABASE_URL": own_postgresql, "PGOPTIONS": "-c nonsense=1"}
    processes.run(["python", "-m", "pytest", "-q", *parts], cwd=copy, env=processes.environment(**given))
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert execute(own_postgresql, tables) == [("customers",)]
    assert not (copy / "instance").exists()
