"""Checks the revisions without a database: one head, named by head.txt; no alembic.ini; no SQL that blocks production.

`make check-migrations` runs it. squawk reads the SQL of every revision after the baseline that pyproject.toml names
under [tool.migration-lint]; what came before it was released, or ran before there was anything to block.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from argparse import Namespace
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations.stray import stray_settings

MIGRATIONS = Path(__file__).parent
PYPROJECT = MIGRATIONS.parent / "pyproject.toml"


TWO_HEADS = """migrations: {count} heads ({heads}) instead of one. Either give the one that came later \
`down_revision = "<the other>"` and write its id into migrations/head.txt, or run `flask db merge heads`: \
see docs/migrations.md"""
WRONG_HEAD = (
    "migrations/head.txt says {said!r}, but the newest revision is {head}: run `echo {head} > migrations/head.txt`"
)


def main() -> int:
    if fault := head_fault() or stray_settings(PYPROJECT):
        sys.stderr.write(f"{fault}\n")
        return 1
    return squawk()


def head_fault() -> str | None:
    """Return what is wrong with the chain's end, in one line that says how to mend it."""
    heads = ScriptDirectory(str(MIGRATIONS)).get_heads()
    if len(heads) != 1:
        return TWO_HEADS.format(count=len(heads), heads=", ".join(heads))
    said = (MIGRATIONS / "head.txt").read_text().strip()
    return None if said == heads[0] else WRONG_HEAD.format(said=" ".join(said.split()), head=heads[0])


def squawk() -> int:
    settings = tomllib.loads(PYPROJECT.read_text())["tool"]["migration-lint"]
    program = Path(sysconfig.get_path("scripts")) / "squawk"
    if not program.exists():
        sys.stderr.write("squawk, which reads the SQL, is not installed here: run `make install`\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        files = write_revisions(offline_sql(settings["baseline"]), Path(folder))
        if not files:
            return 0
        exclude = [f"--exclude={rule}" for rule in settings["exclude"]]
        return subprocess.run([program, *exclude, *files], cwd=folder, check=False).returncode  # noqa: S603 - our own


def offline_sql(baseline: str) -> str:
    """Return the PostgreSQL statements of every revision after the baseline."""
    output = StringIO()
    options = Namespace(x=["dialect=postgresql"])
    config = Config(toml_file=PYPROJECT, output_buffer=output, stdout=StringIO(), cmd_opts=options)
    command.upgrade(config, f"{baseline}:head", sql=True)
    return output.getvalue()


# The settings are one row, so that a new CHECK reads that alone; one that goes makes room for an enumeration's next.
SETTINGS_CHECK = re.compile(r"^(?=ALTER TABLE system_settings (?:ADD|DROP) CONSTRAINT ck_)", re.MULTILINE)
IGNORED = "-- squawk-ignore constraint-missing-not-valid, ban-drop-constraint\n"


def write_revisions(sql: str, folder: Path) -> list[str]:
    """Write each revision's statements into a file called after it, so that squawk's findings name the revision."""
    files = []
    for transaction in re.split(r"^(?=BEGIN;\n\n(?:SET LOCAL.*\n\n)*-- Running)", sql, flags=re.MULTILINE):
        if running := re.search(r"^-- Running upgrade .*-> (\w+)", transaction, re.MULTILINE):
            (folder / f"{running[1]}.sql").write_text(SETTINGS_CHECK.sub(IGNORED, transaction))
            files.append(f"{running[1]}.sql")
    return files


if __name__ == "__main__":
    sys.exit(main())
