"""A copy of the project whose settings have three columns more, as a team adds them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .. import processes

COLUMNS = """
    motd: Mapped[str | None] = mapped_column(String(80), doc="Message of the day.", info=PUBLIC)
    seats: Mapped[int] = mapped_column(server_default=text("10"), doc="How many may sit.")
    ratio: Mapped[float] = mapped_column(server_default=text("0.5"), doc="A share.", info=PUBLIC)
"""
ANCHOR = "    # Add further settings"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project whose settings have three columns more."""
    folder = shutil.copytree(processes.project(), tmp_path / "project")
    models = folder / "dop_be" / "settings" / "models.py"
    before, anchor, after = models.read_text().partition(ANCHOR)
    assert anchor
    models.write_text(before.rstrip() + COLUMNS + "\n" + anchor + after)
    return folder


@pytest.fixture
def run(project: Path, empty_database_url: str) -> Callable[..., str]:
    given = {"DATABASE_URL": empty_database_url, "ADMIN_TOKEN": "t" * 40, "PYTHONWARNINGS": "error"}
    environment = processes.environment(**given)

    def command(*arguments: str, code: int = 0) -> str:
        done = processes.run(["python", *arguments], cwd=project, env=environment, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + (done.stderr if code else "")

    return command
