"""`pip install .` into an environment: dop_be is an application, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import processes

FILES = ("pyproject.toml", "no_package.py", "README.md", "config.py", "wsgi.py")


TARGET = ("--target", "elsewhere")


@pytest.mark.parametrize("how", [("install", *TARGET), ("install", *TARGET, "--editable"), ("wheel",)], ids=" ".join)
def test_pip_says_in_one_line_why_not(tmp_path: Path, how: tuple[str, ...]) -> None:
    for name in FILES:
        shutil.copy2(processes.ROOT / name, tmp_path / name)
    command = ["python", "-m", "pip", how[0], "--no-index", "--no-deps", *how[1:], "."]
    done = processes.run(command, cwd=tmp_path, env=processes.environment(PYTHONDONTWRITEBYTECODE="1"), check=False)
    assert done.returncode == 1
    assert "[1 lines of output]\n      dop_be is an application and not a package: clone its repository" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
