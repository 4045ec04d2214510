"""A copy of the project in which tests run the real command lines, with revisions of their own."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FILES = (
    "alembic.ini",
    "config.py",
    "gunicorn.conf.py",
    "pyproject.toml",
    "serve.py",
    "wsgi.py",
    "dop_be",
    "migrations",
)
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


def template(path: Path) -> Path:
    """The project's files with their bytecode, which is what takes the time when a copy is first run."""
    for name in FILES:
        source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, path / name, ignore=ignored)
        else:
            shutil.copy2(source, path / name)
    compileall.compile_dir(path, quiet=1)
    return path


class Tree:
    """A copy of the project's files, its command lines pointed at one database."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(path),
            "DATABASE_URL": url,
            "PYTHONWARNINGS": "error",
            "FLASK_SKIP_DOTENV": "1",
        }

    @property
    def head(self) -> str:
        return (self.path / "migrations" / "head.txt").read_text().strip()

    def start(self, *command: str, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=cwd or self.path,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def attempt(self, *command: str, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
        """The exit code and everything that was printed."""
        process = self.start(*command, cwd=cwd, **environment)
        output, _ = process.communicate()
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
