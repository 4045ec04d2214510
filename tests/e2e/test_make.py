"""`make run`, as a newcomer types it, in a copy of the tree that borrows this environment's packages."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import requests

from tests import processes
from tests.ports import free_port

TOKEN = re.compile(r"kept in \.env:  ([0-9a-f]{48})\n")


class Run:
    """One `make run` and what it printed until it served."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.port = int(variables.pop("port", 0)) or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = processes.environment(**{"PORT": str(self.port), **variables})
        self._log = folder / f"log-{self.port}"
        with self._log.open("wb") as log:
            self._process = processes.start(["make", "run"], cwd=folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert time.monotonic() < deadline, self.output
            assert self._process.poll() is None, self.output
            time.sleep(0.05)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        """Press Ctrl-C."""
        try:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGINT)
                self._process.wait(120)
        finally:
            processes.end(self._process)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except requests.RequestException:
            return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    processes.copy_project(tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    return tmp_path


@pytest.fixture
def make_run(folder: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def run(**variables: str) -> Run:
        started.append(Run(folder, **variables))
        return started[-1]

    yield run
    for each in started:
        each.stop()


def calls_of_the_readme() -> str:
    [block] = re.findall(
        r"## The first five calls\n\n```sh\n(.*?)```", (processes.ROOT / "README.md").read_text(), re.DOTALL
    )
    return str(block)


def test_make_run_serves_and_answers_the_readmes_calls(make_run: Callable[..., Run], folder: Path) -> None:
    run = make_run()
    [token] = TOKEN.findall(run.output)
    assert f"serves on {run.url}" in run.output
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    assert (folder / "instance" / "dop_be.sqlite3").exists()

    calls = calls_of_the_readme().replace("http://127.0.0.1:8000", run.url)
    calls = calls.replace(
        "curl -i", "sleep 1; curl -i"
    )  # on SQLite the other worker hears 50 ms later, or when it runs
    answers = processes.run(["sh", "-e"], stdin=calls, cwd=folder).stdout
    for expected in (
        '"maintenance_message":null',
        '"mode":"read_only","message":"Back at 10"',
        "HTTP/1.1 503",
        "Retry-After: 120",
        '"code":"maintenance"',
        '"active":false',
        '"maintenance_message":"We are moving house"',
    ):
        assert expected in answers

    run.stop()
    again = make_run()
    assert "shown once" not in again.output
    assert token not in again.output
    settings = requests.get(
        f"{again.url}/api/v1/settings", headers={"Authorization": f"Bearer {token}"}, timeout=5
    ).json()
    assert settings["maintenance_message"] == "We are moving house"


def test_make_run_prints_a_call_that_works(make_run: Callable[..., Run], folder: Path) -> None:
    run = make_run()
    [call] = re.findall(r"^ +\. \./\.env; curl .*\\\n.*$", run.output, re.MULTILINE)
    answer = processes.run(["sh", "-ec", call], cwd=folder).stdout
    assert '"active":true' in answer


def test_make_run_takes_postgresql(make_run: Callable[..., Run], own_postgresql: str) -> None:
    run = make_run(DATABASE_URL=own_postgresql)
    assert "PostgresqlImpl" in run.output
    assert requests.get(f"{run.url}/api/v1/settings", timeout=60).json()["revision"] == 1


def test_another_terminal_without_the_database_url_fails_instead_of_working_on_another_database(
    make_run: Callable[..., Run], folder: Path, own_postgresql: str
) -> None:
    url = own_postgresql
    run = make_run(DATABASE_URL=url)
    assert "DATABASE_URL is this terminal's, not .env's: export the same in the other one" in run.output

    def flask(**environment: str) -> CompletedProcess[str]:
        given = processes.environment(**environment)
        return processes.run([".venv/bin/flask", "maintenance", "on"], cwd=folder, env=given, check=False)

    other = flask()
    assert (other.returncode, other.stdout) == (2, "")
    assert f"There is no SQLite file {folder}/instance/dop_be.sqlite3" in other.stderr
    assert flask(DATABASE_URL=url).returncode == 0
    assert requests.get(f"{run.url}/api/v1/maintenance", timeout=60).json()["active"] is True


def test_make_run_on_the_example_says_that_there_is_no_token(make_run: Callable[..., Run], folder: Path) -> None:
    port = str(free_port())
    (folder / ".env").write_text((folder / ".env.example").read_text().replace("\nPORT=\n", f"\nPORT={port}\n"))
    run = make_run(port=port, PORT="", WEB_CONCURRENCY="")
    assert run.output.count("ADMIN_TOKEN") == 1
    assert "ADMIN_TOKEN is not set: over HTTP nothing can be changed but with a token" in run.output
    assert f"serves on {run.url}" in run.output
    [command] = re.findall(r"in another terminal:\n\n +(.*)\n", run.output)
    processes.run(["sh", "-ec", command], cwd=folder)
    assert requests.get(f"{run.url}/api/v1/maintenance", timeout=60).json()["active"] is True


def test_bare_make_lists_the_targets(folder: Path) -> None:
    listed = processes.run(["make"], cwd=folder).stdout
    assert {"run", "test", "check", "install"} <= {line.split()[0] for line in listed.splitlines()}
