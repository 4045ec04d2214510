"""What is said of an SQLite file that cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from dop_be import sentences, sqlite
from dop_be.failures import explain, explain_in_full, unavailable

from .failing import ROW, sqlite_failing


@pytest.fixture
def file(sqlite_url: str) -> Path:
    return Path(str(make_url(sqlite_url).database))


def assert_told(error: sqlite3.Error, name: str, file: Path) -> None:
    assert explain(error) == sentences.BY_SQLITE[name].format("")
    assert explain_in_full(error, make_url(f"sqlite:///{file}")) == sentences.BY_SQLITE[name].format(f" {file}")
    assert str(file) not in explain(error)


def test_a_file(file: Path, tmp_path: Path) -> None:
    assert_told(sqlite_failing(file, ROW, mode="ro"), "SQLITE_READONLY", file)
    assert_told(sqlite_failing(file, "PRAGMA max_page_count = 1", "CREATE TABLE big (x)"), "SQLITE_FULL", file)
    assert_told(sqlite_failing(tmp_path, "SELECT 1"), "SQLITE_CANTOPEN", tmp_path)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_told(sqlite_failing(file, ROW), "SQLITE_BUSY", file)


def test_a_damaged_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "none.sqlite3"
    other.write_text("this is a text, and longer than the header of a database would be" * 20)
    assert_told(sqlite_failing(other, "SELECT * FROM system_settings"), "SQLITE_NOTADB", other)
    pages = file.read_bytes()
    file.write_bytes(pages[:100] + b"\xff" * (len(pages) - 100))
    assert_told(sqlite_failing(file, "SELECT * FROM system_settings"), "SQLITE_CORRUPT", file)


def test_a_file_without_our_tables(file: Path) -> None:
    for statements in (
        ["SELECT * FROM no_such"],
        ["SELECT no_such FROM system_settings"],
        ["INSERT INTO live_state (no_such) VALUES (1)"],
    ):
        assert explain(sqlite_failing(file, *statements)) == sentences.NOT_MIGRATED


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "moved.sqlite3"
    with pytest.raises(sqlite.NoFile) as caught:
        sqlite.open_file(path)
    assert not path.exists()
    assert explain(caught.value) == sentences.NO_FILE.format("")
    told = unavailable(caught.value)
    told.__cause__ = caught.value
    assert str(path) not in told.detail
    assert explain_in_full(told, make_url(f"sqlite:///{path}")) == sentences.NO_FILE.format(f" {path}")
