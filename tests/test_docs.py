"""The documentation keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dop_be.settings.models import SHOWN

ROOT = Path(__file__).parents[1]
NAME = re.compile(r'(?:env\.\w+\(\s*|_(?:integer|read)\(env, (?:"[a-z]+", )?)"([A-Z_]+)"')


def variables() -> set[str]:
    found = set(NAME.findall((ROOT / "config.py").read_text()))
    assert {"DATABASE_URL", "LISTEN_DATABASE_URL", "MIGRATION_LOCK_WAIT", "PORT"} <= found
    return found


def test_every_variable_is_in_the_example_and_nothing_else() -> None:
    example = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(example) == sorted(variables())


def test_every_variable_is_documented_and_nothing_else() -> None:
    table = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(variables())


def test_every_link_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{document.name}: {link}"
        for document in documents
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)|src=\"([^\"]+)\"", document.read_text())
        if not leads(document, "".join(link))
    ]
    assert broken == []


def leads(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    if not anchor or not target.exists():
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_only_the_configuration_reads_the_environment() -> None:
    files = [*(ROOT / "dop_be").rglob("*.py"), *(ROOT / "migrations").rglob("*.py"), ROOT / "wsgi.py"]
    assert [str(file) for file in files if re.search(r"os\.environ|getenv", file.read_text())] == []


@pytest.mark.parametrize("column", SHOWN, ids=lambda column: column.key)
def test_every_setting_has_its_help(column: object) -> None:
    text = getattr(column, "doc", None)
    assert text
    assert text.endswith(".")
