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
    assert_refused(make_tree(sqlite_url), "timedelta | None", "Interval", "Interval()", WAYS[way])


@pytest.mark.parametrize("annotation", ["dict[str, int] | None", "list[str]"])
def test_a_class_that_no_column_can_have(make_tree: Callable[[str], Tree], sqlite_url: str, annotation: str) -> None:
    assert_refused(make_tree(sqlite_url), annotation, "", annotation.partition(" | ")[0], WAYS["flask"])


def assert_refused(tree: Tree, annotation: str, kind: str, told: str, command: tuple[str, ...]) -> None:
    comma = ", " if kind else ""
    add_settings(tree, f'thing: Mapped[{annotation}] = mapped_column({kind}{comma}doc="For a test.")')
    code, output = tree.attempt(*command, PORT=str(free_port()), WEB_CONCURRENCY="1")
    assert code == 2, output
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if line.startswith("dop_be: ")]
    assert line.startswith(f"dop_be: system_settings.thing: {told} is no type of a setting; use Boolean")
