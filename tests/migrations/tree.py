"""A copy of the project in which tests run the real command lines, with revisions of their own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

from tests import processes
from tests.processes import ROOT

__all__ = ["ROOT", "Tree", "copied", "until"]

REVISION = '''"""{message}

Revision ID: {revision}
Revises: {down_revision}
"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def copied(path: Path) -> Path:
    """The project without what migrations do not need; with its bytecode, which is what takes time on the first run."""
    unneeded = shutil.ignore_patterns("tests", "docs", "benchmarks", "deploy", ".ci")
    return shutil.copytree(processes.project(), path, ignore=unneeded)


class Tree:
    """A copy of the project's files, its command lines pointed at one database."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url, self._started = path, url, list[processes.Popen]()
        self.environment = processes.environment(HOME=str(path), DATABASE_URL=url, PYTHONWARNINGS="error")

    @property
    def head(self) -> str:
        return (self.path / "migrations" / "head.txt").read_text().strip()

    def start(self, *command: str, cwd: Path | None = None, **environment: str) -> processes.Popen:
        """Start a command; it ends with the test at the latest."""
        pipes = {"stdout": PIPE, "stderr": STDOUT, "text": True}
        process = processes.start(command, cwd=cwd or self.path, env=self.environment | environment, **pipes)
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what is left of what was started."""
        for process in self._started:
            processes.end(process)
            if process.stdout is not None:
                process.stdout.close()

    def attempt(self, *command: str, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
        """The exit code and everything that was printed."""
        process = self.start(*command, cwd=cwd, **environment)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> str:
        code, output = self.attempt(*command, cwd=cwd, **environment)
        assert code == 0, output
        return output

    def refused(self, *command: str, **environment: str) -> str:
        """The one line of a command that failed; before it there are only Alembic's own."""
        code, output = self.attempt(*command, cwd=None, **environment)
        *before, line = output.splitlines()
        assert code == 1, output
        assert [each for each in before if not each.startswith("INFO  [alembic.")] == []
        assert line.startswith("ERROR [alembic.dop_be] ")
        return line.removeprefix("ERROR [alembic.dop_be] ")

    def at_once(self, number: int, *command: str) -> list[tuple[int, str]]:
        """Start the same command several times at the same moment."""
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda _: self.attempt(*command), range(number)))

    def add(self, revision: str, upgrade: str, downgrade: str = "pass") -> None:
        """Add a revision after the head; `upgrade` and `downgrade` are single Python statements."""
        text = REVISION.format(
            message=f"test {revision}",
            revision=revision,
            down_revision=self.head,
            upgrade=upgrade,
            downgrade=downgrade,
        )
        (self.path / "migrations" / "versions" / f"{revision}_test.py").write_text(text)
        (self.path / "migrations" / "head.txt").write_text(f"{revision}\n")


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for a condition that is sure to come; the limit is for a test that would hang."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return result
