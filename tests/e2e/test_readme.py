"""The README's recipe for a setting, followed to the letter in a copy of the project."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from tests import processes


def blocks_of(section: str) -> list[str]:
    [text] = re.findall(
        rf"^## {section}\n(.*?)^## ", (processes.ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return re.findall(r"^```(?:python|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_a_setting_is_one_column_and_two_commands(tmp_path: Path) -> None:
    folder = shutil.copytree(processes.project(), tmp_path / "dop_be")
    (folder / ".venv").symlink_to(sys.prefix)

    def shell(commands: str) -> str:
        return processes.run(["sh", "-ec", commands], cwd=folder).stdout

    shell(".venv/bin/flask db upgrade")
    column, commands = blocks_of("Make it yours")
    models = folder / "dop_be" / "settings" / "models.py"
    models.write_text(
        models.read_text().replace("\n    # Add further settings", f"{column}\n    # Add further settings")
    )
    shell(commands)
    assert re.search(r"^signup_open +true$", shell(".venv/bin/flask settings show"), re.MULTILINE)
    assert "signup_open: true -> false" in shell(".venv/bin/flask settings set signup_open=false")
