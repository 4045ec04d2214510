"""An SQLite file that cannot be migrated, told in one line."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from .tree import Tree

UPGRADE = ("flask", "db", "upgrade")


def on_sqlite(make_tree: Callable[[str], Tree], file: Path) -> Tree:
    return make_tree(f"sqlite:///{file}")


def test_a_file_that_is_no_database(make_tree: Callable[[str], Tree], tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Sir or Madam, " * 100)
    told = on_sqlite(make_tree, file).refused(*UPGRADE)
    assert f"file is not a database: {file} is not an SQLite file: correct DATABASE_URL" in told


def test_a_damaged_file(make_tree: Callable[[str], Tree], sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "dop_be.sqlite3"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"U" * (len(content) - 4096))
    told = on_sqlite(make_tree, file).refused(*UPGRADE)
    assert f"database disk image is malformed: {file} is damaged: put a backup" in told


def test_a_file_that_another_process_writes_to(make_tree: Callable[[str], Tree], tmp_path: Path) -> None:
    file = tmp_path / "busy.sqlite3"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    told = on_sqlite(make_tree, file).refused(*UPGRADE, MIGRATION_LOCK_WAIT="1")
    other.close()
    assert f"database is locked: another process writes to {file}: waited for 1 s (MIGRATION_LOCK_WAIT)" in told


def without_overriding(*line: str) -> tuple[str, ...]:
    """The command, without root's privilege to write whatever the file's mode says."""
    return ("setpriv", "--bounding-set=-dac_override", *line) if os.geteuid() == 0 else line


def test_a_file_or_folder_that_is_not_writable(
    make_tree: Callable[[str], Tree], sqlite_url: str, tmp_path: Path
) -> None:
    file, folder = tmp_path / "dop_be.sqlite3", tmp_path / "closed"
    tree = on_sqlite(make_tree, file)
    tree.add("aaaa00000048", 'op.execute("CREATE TABLE extra (id INTEGER)")')
    folder.mkdir()
    folder.chmod(0o555)
    file.chmod(0o444)
    told = tree.refused(*without_overriding(*UPGRADE))
    assert f"attempt to write a readonly database: {file} and its folder must be writable for this user" in told
    for path in (folder / "new.sqlite3", folder / "deeper" / "new.sqlite3"):
        told = tree.refused(*without_overriding(*UPGRADE), DATABASE_URL=f"sqlite:///{path}")
        assert str(folder) in told
        assert any(part in told for part in ("its folder must exist", "correct DATABASE_URL"))
    folder.chmod(0o755)
