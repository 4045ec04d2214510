"""`pip install .` into an environment: dop_be is an application, and says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("pyproject.toml", "no_package.py", "README.md", "config.py", "wsgi.py")


TARGET = ("--target", "elsewhere")


@pytest.mark.parametrize("how", [("install", *TARGET), ("install", *TARGET, "--editable"), ("wheel",)], ids=" ".join)
def test_pip_says_in_one_line_why_not(tmp_path: Path, how: tuple[str, ...]) -> None:
    for name in FILES:
        shutil.copy2(ROOT / name, tmp_path / name)
    command = [sys.executable, "-m", "pip", how[0], "--no-index", "--no-deps", *how[1:], "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "[1 lines of output]\n      dop_be is an application and not a package: clone its repository" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
