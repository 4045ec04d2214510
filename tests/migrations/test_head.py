"""One head, held by git, and the lint of `make check-migrations`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from migrations import lint
from tests import processes

from .tree import Tree

LINT = ("python", "-m", "migrations.lint")


@pytest.fixture
def offline_tree(postgresql_tree: Tree) -> Tree:
    """Nothing here needs a database."""
    postgresql_tree.environment["DATABASE_URL"] = "postgresql://127.0.0.1:1/nothing"
    return postgresql_tree


def newest(tree: Tree, slug: str) -> str:
    [file] = (tree.path / "migrations" / "versions").glob(f"*_{slug}.py")
    return file.name.partition("_")[0]


def test_each_new_revision_and_merge_rewrites_the_file(offline_tree: Tree) -> None:
    """Here with plain `alembic`, with `flask db` in what follows."""
    before = offline_tree.head
    offline_tree.run("alembic", "revision", "-m", "one way")
    assert offline_tree.head == newest(offline_tree, "one_way") != before
    offline_tree.run("alembic", "revision", "-m", "another way", "--head", before, "--splice")
    assert offline_tree.head == newest(offline_tree, "another_way")
    offline_tree.run("alembic", "merge", "heads", "-m", "both ways")
    assert offline_tree.head == newest(offline_tree, "both_ways")
    assert offline_tree.run("alembic", "heads").split()[0] == offline_tree.head
    offline_tree.run(*LINT)


def test_two_branches_that_add_a_revision_conflict_in_git(offline_tree: Tree) -> None:
    def git(*command: str) -> tuple[int, str]:
        return offline_tree.attempt(
            "git", "-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", *command
        )

    git("init", "--initial-branch=main")
    git("add", "--all")
    git("commit", "-m", "as it is")
    for branch in ("left", "right"):
        git("checkout", "-b", branch, "main")
        offline_tree.run("flask", "db", "revision", "-m", f"from the {branch}")
        git("add", "--all")
        git("commit", "-m", branch)
    code, output = git("merge", "left")
    assert code == 1
    assert "CONFLICT (content): Merge conflict in migrations/head.txt" in output
    code, output = offline_tree.attempt(*LINT)
    assert code == 1
    assert "2 heads" in output


def test_the_lint_passes_here() -> None:
    processes.run(LINT)


def test_the_lint_says_what_to_install_where_squawk_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("migrations.lint.sysconfig.get_path", lambda _name: str(tmp_path))
    assert lint.main() == 1
    assert capsys.readouterr().err == "squawk, which reads the SQL, is not installed here: run `make install`\n"


def test_the_lint_tells_how_to_mend_a_wrong_file(offline_tree: Tree) -> None:
    head = offline_tree.head
    (offline_tree.path / "migrations" / "head.txt").write_text("19176e327d47\n")
    code, output = offline_tree.attempt(*LINT)
    assert code == 1
    [line] = output.splitlines()
    command = re.search(r"run `(.+)`$", line)
    assert command
    offline_tree.run("sh", "-c", command[1])
    assert offline_tree.head == head
    offline_tree.run(*LINT)


def test_the_lint_tells_how_to_mend_a_second_head(offline_tree: Tree) -> None:
    before = offline_tree.head
    offline_tree.run("flask", "db", "revision", "-m", "one way")
    offline_tree.run("flask", "db", "revision", "-m", "another way", "--head", before, "--splice")
    code, output = offline_tree.attempt(*LINT)
    assert code == 1
    [line] = output.splitlines()
    assert newest(offline_tree, "one_way") in line
    assert newest(offline_tree, "another_way") in line
    command = re.search(r"run `(flask db merge heads)`", line)
    assert command
    offline_tree.run("sh", "-c", command[1])
    offline_tree.run(*LINT)


@pytest.mark.parametrize(
    ("upgrade", "rule"),
    [
        ('op.create_index("ix_blocking", "system_settings", ["updated_by"])', "require-concurrent-index-creation"),
        ('op.alter_column("system_settings", "is_maintain", new_column_name="maintain")', "renaming-column"),
        ('op.drop_column("system_settings", "updated_by")', "ban-drop-column"),
    ],
)
def test_squawk_refuses_what_blocks_or_breaks_the_running_release(offline_tree: Tree, upgrade: str, rule: str) -> None:
    offline_tree.add("aaaa00000021", upgrade)
    code, output = offline_tree.attempt(*LINT)
    assert code == 1
    assert rule in output
    assert "aaaa00000021.sql" in output


def test_squawk_takes_a_concurrent_index(offline_tree: Tree) -> None:
    offline_tree.add(
        "aaaa00000022",
        """with op.get_context().autocommit_block():
        op.create_index("ix_harmless", "system_settings", ["updated_by"], postgresql_concurrently=True)""",
    )
    offline_tree.run(*LINT)
