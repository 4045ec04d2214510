"""docs/migrations.md does what it says, each chapter by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .guide import Reader, chapters, is_carried_on
from .tree import ROOT, Tree

CHAPTERS = chapters(ROOT / "docs" / "migrations.md")
FROM_NOTHING = {"From an empty database", "In a database with other programs"}


@pytest.fixture
def chapter_url(title: str, request: pytest.FixtureRequest) -> str:
    """The database that a chapter begins with: an empty one, or one that is migrated to this release.

    No other test uses its server at the same time, since the guide looks at all its locks.
    """
    url: str = request.getfixturevalue("own_breakable" if title in FROM_NOTHING else "breakable_url")
    return url


@pytest.mark.parametrize("title", [title for title, blocks in CHAPTERS.items() if blocks])
def test_every_command_of_a_chapter_prints_what_it_says(
    title: str, chapter_url: str, make_tree: Callable[[str], Tree]
) -> None:
    titles = list(CHAPTERS)
    before = [CHAPTERS[each] for each in titles[: titles.index(title)] if is_carried_on(CHAPTERS[each])]
    tree = make_tree(chapter_url)
    reader = Reader(tree, {"/srv/dop_be": str(tree.path)})
    reader.begin(before if title not in FROM_NOTHING else [])
    if before and title not in FROM_NOTHING:
        tree.run("flask", "db", "upgrade")
    for kind, body in CHAPTERS[title]:
        reader.follow(kind, body)
