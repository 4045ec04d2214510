"""Whether this release serves a database: by the Alembic revision that it is at."""

from __future__ import annotations

from functools import cache
from pathlib import Path

UPGRADE = "run `flask db upgrade`"


@cache
def compare(found: str | None, migrations: Path) -> tuple[list[str], list[str]]:
    """Return faults and notes about the Alembic revision that the database is at, against this release's newest."""
    head = (migrations / "head.txt").read_text().strip()
    if found == head:
        return [], []
    if found is None:
        return [f"the database is not migrated: {UPGRADE}"], []
    if not _is_known(found, migrations):
        back = f"deploy the release that brought it, or run `flask db downgrade {head}` from there"
        return [], [f"the database is at {found}, ahead of this release's {head}: {back}"]
    return [f"the database is at {found}, behind this release's {head}: {UPGRADE}"], []


def _is_known(revision: str, migrations: Path) -> bool:
    """Whether this release has the Alembic revision."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - most databases are at the newest, and it loads slowly
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        ScriptDirectory(str(migrations)).get_revision(revision)
    except CommandError:
        return False
    return True
