"""The README's recipe for a setting, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("config.py", "pyproject.toml", "wsgi.py", "dop_be", "migrations")


def blocks_of(section: str) -> list[str]:
    [text] = re.findall(rf"^## {section}\n(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r"^```(?:python|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_a_setting_is_one_column_and_two_commands(tmp_path: Path) -> None:
    for name in FILES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)

    def shell(commands: str) -> str:
        given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(
            ["sh", "-ec", commands], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell(".venv/bin/flask db upgrade")
    column, commands = blocks_of("Make it yours")
    models = tmp_path / "dop_be" / "settings" / "models.py"
    models.write_text(models.read_text().replace("\n    # The compare-and-set", f"{column}\n    # The compare-and-set"))
    shell(commands)
    assert re.search(r"^signup_open +true$", shell(".venv/bin/flask settings show"), re.MULTILINE)
    assert "signup_open: true -> false" in shell(".venv/bin/flask settings set signup_open=false")
