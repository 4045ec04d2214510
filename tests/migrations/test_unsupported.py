"""A setting of a type that dop_be cannot keep stops every way to start, with one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ports import free_port

from .models import add_settings
from .tree import Tree

WAYS = {
    "flask": ("flask", "settings", "show"),
    "upgrade": ("flask", "db", "upgrade"),
    "alembic": ("alembic", "upgrade", "head"),
    "make run": ("python", "serve.py", "--local"),
    "gunicorn": ("gunicorn",),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_says_so_in_one_line(make_tree: Callable[[str], Tree], sqlite_url: str, way: str) -> None:
    tree = make_tree(sqlite_url)
    add_settings(tree, 'backup_every: Mapped[timedelta | None] = mapped_column(Interval, doc="How often.")')
    code, output = tree.attempt(*WAYS[way], PORT=str(free_port()), WEB_CONCURRENCY="1")
    assert code == 2, output
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if line.startswith("dop_be: ")]
    assert line.startswith("dop_be: system_settings.backup_every: Interval() is no type of a setting; use Boolean")
