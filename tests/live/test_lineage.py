"""Whether the database went back: it is told once, and for as long as it lasts."""

from __future__ import annotations

import logging

import pytest

from dop_be.live.last_state import Identity
from dop_be.live.lineage import Lineage


@pytest.fixture
def lineage(caplog: pytest.LogCaptureFixture) -> Lineage:
    caplog.set_level(logging.INFO)
    lineage = Lineage()
    lineage.follow("a, timeline 2", Identity("one", 2))
    lineage.see(10)
    caplog.clear()
    return lineage


def errors(caplog: pytest.LogCaptureFixture) -> int:
    return len([record for record in caplog.records if record.levelno == logging.ERROR])


def test_each_change_of_the_server_is_one_line(lineage: Lineage, caplog: pytest.LogCaptureFixture) -> None:
    lineage.follow("a, timeline 2", Identity("one", 2))
    lineage.follow("b, timeline 3", Identity("one", 3))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["the database is b, timeline 3"]
    assert lineage.notes == []


def test_an_older_timeline_is_told_until_a_newer_one_answers(
    lineage: Lineage, caplog: pytest.LogCaptureFixture
) -> None:
    lineage.follow("old, timeline 1", Identity("one", 1))
    assert "timeline 1, an older one than 2" in lineage.notes[0]
    assert errors(caplog) == 1
    lineage.follow("a, timeline 2", Identity("one", 2))
    assert lineage.notes == []


def test_fewer_changes_are_told_until_there_are_as_many_again(
    lineage: Lineage, caplog: pytest.LogCaptureFixture
) -> None:
    lineage.see(7)
    lineage.see(7)
    assert "newest change of the database is 7, and it was 10" in lineage.notes[0]
    assert errors(caplog) == 1
    lineage.see(8)
    assert "newest change of the database is 8, and it was 10" in lineage.notes[0]
    assert errors(caplog) == 1
    lineage.see(5)  # again
    assert "newest change of the database is 5, and it was 10" in lineage.notes[0]
    assert errors(caplog) == 2
    lineage.see(10)
    assert lineage.notes == []


def test_another_database_is_no_older_one(lineage: Lineage, caplog: pytest.LogCaptureFixture) -> None:
    lineage.follow("elsewhere, timeline 1", Identity("two", 1))
    lineage.see(1)
    lineage.follow("unknown", None)
    lineage.see(None)
    assert errors(caplog) == 1  # of the last: it may be the same database
