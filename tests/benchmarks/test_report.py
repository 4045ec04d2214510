from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import measurements
from benchmarks.report import Table


def test_a_table_is_markdown() -> None:
    table = Table("Speed", ["what", "p50"], [["a", "1 ms"]], "Measured.")
    assert table.markdown() == "### Speed\n\nMeasured.\n\n| what | p50 |\n| --- | ---: |\n| a | 1 ms |\n"


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("before\n<!-- begin a -->\nold\n<!-- end a -->\n<!-- begin b -->\nkept\n<!-- end b -->\n")
    monkeypatch.setattr(report, "DOCUMENT", document)
    report.write("a", [Table("New", ["x"], [["1"]])], ["flask"])
    text = document.read_text()
    assert text.startswith("before\n<!-- begin a -->\nMeasured on ")
    assert "### New" in text
    assert "old" not in text
    assert text.endswith("<!-- end a -->\n<!-- begin b -->\nkept\n<!-- end b -->\n")


def test_a_section_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "benchmarks.md")
    (tmp_path / "benchmarks.md").write_text("nothing\n")
    with pytest.raises(ValueError, match="no section bench"):
        report.write("bench", [], ["flask"])


def test_the_document_has_both_sections() -> None:
    text = report.DOCUMENT.read_text()
    assert all(f"<!-- {edge} {name} -->" in text for edge in ("begin", "end") for name in ("bench", "bench-peers"))


def test_every_script_that_measures_is_found_by_being_there() -> None:
    folder = report.DOCUMENT.parent.parent / "benchmarks"
    measuring = {path.stem for path in folder.glob("*.py") if "\ndef measure(" in path.read_text()}
    assert measurements().keys() == measuring
    assert "flips" in measuring
