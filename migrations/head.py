"""Write the newest revision into head.txt, so that git itself conflicts where two branches add one, and format it.

Alembic's post-write hook (see pyproject.toml) runs this with the new revision's file, in a process of its own. It is
the one way that new revisions and merges share, and it needs no database.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

HEAD = Path(__file__).with_name("head.txt")


def write(revision_file: Path) -> None:
    found = re.search(r"""^revision\b.*= *["'](.+)["']""", revision_file.read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"{revision_file} names no revision: migrations/head.txt was left as it is")
    HEAD.write_text(f"{found[1]}\n")


def tidy(revision_file: Path) -> None:
    """Format as the rest of the code, where the development tools are installed."""
    if importlib.util.find_spec("ruff"):
        command = [sys.executable, "-m", "ruff", "format", "--quiet", str(revision_file)]
        subprocess.run(command, check=True)  # noqa: S603 - our own


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    tidy(Path(sys.argv[1]))
