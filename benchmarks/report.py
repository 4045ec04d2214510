"""Tables in Markdown, on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Table:
    """One measurement's result, cells as they are shown; `note` says how it was measured."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        lines = [self.head, ["---", *["---:"] * (len(self.head) - 1)], *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n" + (f"{self.note}\n\n" if self.note else "") + table + "\n"


def write(section: str, tables: Iterable[Table], packages: Sequence[str], servers: str = "") -> None:
    """Put the tables between the section's two markers, in place of what was there."""
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    content = "\n".join([conditions(packages, servers), *(table.markdown() for table in tables)])
    text = DOCUMENT.read_text()
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{DOCUMENT} has no section {section}")
    DOCUMENT.write_text(pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text))


def conditions(packages: Sequence[str], servers: str = "") -> str:
    """Under what the figures came about: the day, the machine, the versions."""
    facts = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}",
        f"{cores()} cores of {processor()}, Linux {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in packages),
    ]
    return "; ".join([*facts, servers] if servers else facts) + ".\n"


def cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t")


def processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} µs" if seconds < 1e-4 else f"{seconds * 1e6:,.0f} µs"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"
