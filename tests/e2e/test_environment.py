"""One environment for every program: `.env` beneath the process environment, and one database for all of them."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests import processes
from tests.conftest import ADMIN

from .servers import eventually, serving

DEFAULT = Path("instance") / "dop_be.sqlite3"
# Each works on the database, and none but an upgrade makes one.
COMMANDS = [
    "flask maintenance on",
    "flask maintenance status",
    "flask maintenance windows",
    "flask maintenance bypass list",
    "flask settings show",
    "flask settings set maintenance_message=x",
    "flask tokens list",
    "flask db current",
    "flask db check",
    "flask db downgrade",
    "flask db stamp head",
    "alembic current",
    "alembic downgrade base",
]


class Folder:
    """A copy of the project, and commands in it with no other environment than the given one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, command: str, **environment: str) -> CompletedProcess[str]:
        given = processes.environment(HOME=str(self.path), **environment)
        return processes.run(command.split(), cwd=self.path, env=given, check=False)

    def upgraded(self, **environment: str) -> Folder:
        done = self.run("flask db upgrade", **environment)
        assert done.returncode == 0, done.stderr
        return self

    def databases(self) -> list[str]:
        return sorted(str(file.relative_to(self.path)) for file in self.path.rglob("*.sqlite3"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(shutil.copytree(processes.project(), tmp_path / "dop", ignore=shutil.ignore_patterns("instance")))


def gunicorn_settings(folder: Folder, **environment: str) -> dict[str, str]:
    """Return what plain gunicorn would do, without doing it."""
    done = folder.run("gunicorn --print-config", **environment)
    assert done.returncode == 0, done.stderr
    return {
        name.strip(): value.strip() for name, _, value in (line.partition("=") for line in done.stdout.splitlines())
    }


def every_address(port: int) -> str:
    return f"['[::]:{port}']" if Path("/proc/net/if_inet6").exists() else f"['0.0.0.0:{port}']"


def test_the_file_counts_for_every_program(folder: Folder) -> None:
    (folder.path / ".env").write_text("DATABASE_URL=sqlite:///mine.sqlite3\nPORT=8123\nWEB_CONCURRENCY=3\n")
    folder.upgraded()
    assert folder.databases() == ["mine.sqlite3"]
    for command in ("flask maintenance on", "alembic current", "flask db current"):
        done = folder.run(command)
        assert (done.returncode, "DATABASE_URL" in done.stderr) == (0, False), done.stderr
    settings = gunicorn_settings(folder)
    assert (settings["bind"], settings["workers"]) == (every_address(8123), "3")
    with serving(["gunicorn", "--bind", "127.0.0.1:$PORT"], path="/readyz", cwd=folder.path) as server:
        assert server.get("/api/v1/maintenance").json()["active"] is True


def test_the_environment_goes_before_the_file_for_every_program(folder: Folder) -> None:
    (folder.path / ".env").write_text("DATABASE_URL=mysql://nowhere\nPORT=8123\nWEB_CONCURRENCY=3\n")
    given = {"DATABASE_URL": "sqlite:///mine.sqlite3", "PORT": "8200", "WEB_CONCURRENCY": "1"}
    folder.upgraded(**given)
    assert folder.databases() == ["mine.sqlite3"]
    for command in ("flask maintenance on", "alembic current"):
        done = folder.run(command, **given)
        assert done.returncode == 0, done.stderr
    settings = gunicorn_settings(folder, **given)
    assert (settings["bind"], settings["workers"]) == (every_address(8200), "1")


def test_what_is_empty_counts_as_unset(folder: Folder) -> None:
    empty = {"DATABASE_URL": "", "PORT": " ", "ADMIN_TOKEN": ""}
    folder.upgraded(**empty)
    assert folder.databases() == [str(DEFAULT)]
    settings = gunicorn_settings(folder, **empty)
    assert (settings["bind"], settings["workers"]) == ("['127.0.0.1:8000']", "2")


@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_flask_reads_no_other_programs_file(folder: Folder, tmp_path: Path, name: str) -> None:
    (folder.path / ".env").write_text("DATABASE_URL=sqlite:///mine.sqlite3\n")
    folder.upgraded()
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_text(f"DATABASE_URL=sqlite:///{other}/customers.sqlite3\n")
    app = folder.path / "wsgi.py"
    assert Folder(other).run(f"flask --app {app} maintenance on").stderr.count("customers") == 0
    assert folder.run("flask maintenance status").returncode == 1
    given = Folder(other).run(f"flask --app {app} maintenance status", DATABASE_URL="sqlite:///none.sqlite3")
    assert f"{folder.path}/none.sqlite3" in given.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_but_an_upgrade_makes_a_file(folder: Folder, command: str) -> None:
    done = folder.run(command)
    assert not (folder.path / "instance").exists()
    (folder.path / "instance").mkdir()
    again = folder.run(command)
    assert list((folder.path / "instance").iterdir()) == []
    assert again.stderr == done.stderr
    assert done.returncode != 0
    assert f"There is no SQLite file {folder.path / DEFAULT}; run `flask db upgrade`" in done.stderr
    assert "Traceback" not in done.stderr
    if " db " not in command and "alembic" not in command:
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_commands_say_which_file_they_work_on_where_none_was_named(folder: Folder) -> None:
    said = f"DATABASE_URL is not set: working on the SQLite file {folder.path / DEFAULT}"
    assert said in folder.run("flask db upgrade").stderr
    for command in ("flask maintenance status", "flask settings show --json", "flask tokens list", "flask db current"):
        done = folder.run(command)
        assert done.returncode == 0
        assert done.stderr.count(said) == 1
        assert "SQLite file" not in done.stdout
    assert "SQLite file" not in folder.run("flask maintenance on --help").stderr
    named = {"DATABASE_URL": f"sqlite:///{DEFAULT}"}
    assert folder.run("flask maintenance status", **named).stderr == ""


def test_an_upgrade_makes_a_file_and_no_folder(folder: Folder) -> None:
    done = folder.run("flask db upgrade", DATABASE_URL="sqlite:///mistyped/x.sqlite3")
    assert done.returncode != 0
    assert f"There is no folder for the SQLite file {folder.path}/mistyped/x.sqlite3" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder.path / "mistyped").exists()
    assert not (folder.path / "instance").exists()
    folder.upgraded(DATABASE_URL="sqlite:///instance/named.sqlite3")
    assert folder.databases() == ["instance/named.sqlite3"]


@pytest.mark.parametrize("file", ["mistyped/x.sqlite3", "mistyped.sqlite3"])
def test_a_server_makes_no_file(folder: Folder, file: str) -> None:
    mistyped = f"sqlite:///{folder.path}/{file}"
    command = ["gunicorn", "--bind", "127.0.0.1:$PORT"]
    with serving(command, cwd=folder.path, DATABASE_URL=mistyped) as server:
        answer = server.get("/readyz")
        assert answer.status_code == 503
        assert "the SQLite file, which the log names, does not exist: run `flask db upgrade`" in answer.json()["detail"]
        refused = server.request("PUT", "/api/v1/maintenance", json={"active": True}, headers=ADMIN)
        assert refused.status_code == 503
        assert f"There is no SQLite file {folder.path}/{file}" in server.log()
    assert not (folder.path / "mistyped").exists()
    assert folder.databases() == []


def test_a_write_does_not_make_a_file_that_was_moved_away(folder: Folder) -> None:
    folder.upgraded()
    file = folder.path / DEFAULT
    command = ["gunicorn", "--bind", "127.0.0.1:$PORT"]
    with serving(command, path="/readyz", cwd=folder.path) as server:
        on = {"json": {"active": True}, "headers": ADMIN}
        file.rename(file.with_suffix(".kept"))
        refused = server.request("PUT", "/api/v1/maintenance", **on)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert folder.databases() == []
        file.with_suffix(".kept").rename(file)
        assert server.request("PUT", "/api/v1/maintenance", **on).status_code == 200


@pytest.mark.parametrize("where", ["environment", "file"])
@pytest.mark.parametrize(("name", "value"), [("WEB_CONCURRENCY", "two"), ("PORT", "http")])
def test_a_bad_number_ends_the_start_in_one_line(folder: Folder, name: str, value: str, where: str) -> None:
    if where == "file":
        (folder.path / ".env").write_text(f"{name}={value}\n")
    given = {name: value} if where == "environment" else {}
    programs = ["python serve.py", "flask settings show", "alembic current"]
    if (name, where) != ("WEB_CONCURRENCY", "environment"):  # gunicorn reads that one before anything of ours
        programs.append("gunicorn")
    for program in programs:
        done = folder.run(program, **given)
        assert (done.returncode, done.stdout) == (2, ""), program
        assert re.fullmatch(rf"dop_be: {name}: Expected a whole number from [^\n]+\n", done.stderr), program


def test_a_start_without_a_token_says_so_and_takes_empty_variables(folder: Folder) -> None:
    shutil.copy2(folder.path / ".env.example", folder.path / ".env")
    folder.upgraded()
    command = [sys.executable, "serve.py", "--bind", "127.0.0.1:$PORT"]
    with serving(command, path="/readyz", cwd=folder.path, ADMIN_TOKEN="", WEB_CONCURRENCY="") as server:
        [line] = [line for line in server.log().splitlines() if "ADMIN_TOKEN" in line]
        assert "over HTTP nothing can be changed but with a token made by `flask tokens create`" in line
        eventually(30, lambda: len(server.workers()) == 2)


def test_a_port_that_is_taken_is_told_before_anybody_is_told_to_send_a_token_there(folder: Folder) -> None:
    folder.upgraded()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = folder.run("python serve.py --local", PORT=str(port))
    said = f"dop_be: PORT: cannot listen on port {port}: Address already in use; set PORT to another\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_a_start_with_a_token_does_not(folder: Folder) -> None:
    folder.upgraded()
    with serving([sys.executable, "serve.py", "--bind", "127.0.0.1:$PORT"], cwd=folder.path) as server:
        assert "ADMIN_TOKEN" not in server.log()
