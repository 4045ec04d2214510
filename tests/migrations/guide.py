"""A document whose commands run, one after the other, and print what it says.

A `console` block holds commands after `$ ` and what they print; `…` stands for anything, on a line of its own for any
lines. A `diff` block is applied. A `python` block whose first line is `# path` is written to that file; one that
defines upgrade() replaces that part of the newest revision. An identifier of twelve hexadecimal digits that the
repository does not know stands for the one that is really made.

A chapter runs by itself. What the chapters before it added to the project with a `diff` is put there without running
them: their diffs, and their revisions as the document shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .tree import REVISION, ROOT, Tree

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHAPTER = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
IDENTIFIER = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
MADE = re.compile(r'-m "(.+)"\n[^$]*?Generating \S+/versions/([0-9a-f]{12})(_\w+\.py)')
KNOWN = {file.name[:12] for file in (ROOT / "migrations" / "versions").glob("*.py")}
HEADER = REVISION.partition("def upgrade")[0]
READER = {
    "PYTHONDONTWRITEBYTECODE": "1",  # of a file that was changed twice within a second it would be the first
    "PYTHONUNBUFFERED": "1",
    "PGOPTIONS": "-c client_min_messages=warning",
    "GIT_AUTHOR_NAME": "A Reader",
    "GIT_AUTHOR_EMAIL": "reader@example.com",
    "GIT_COMMITTER_NAME": "A Reader",
    "GIT_COMMITTER_EMAIL": "reader@example.com",
}


def chapters(document: Path) -> dict[str, list[tuple[str, str]]]:
    """Return each chapter's blocks, by its title."""
    return {title: BLOCK.findall(text) for title, text in CHAPTER.findall(document.read_text())}


def is_carried_on(blocks: list[tuple[str, str]]) -> bool:
    return any(kind == "diff" for kind, _ in blocks)


@dataclass
class Reader:
    """Does what the document says."""

    tree: Tree
    names: dict[str, str] = field(default_factory=dict)  # the document's identifiers and paths, and the real ones

    def __post_init__(self) -> None:
        self.tree.environment |= READER
        (self.tree.path / ".gitignore").write_text("__pycache__/\n*.sqlite3*\n")

    def begin(self, before: Iterable[list[tuple[str, str]]]) -> None:
        """Put the project into the state that these chapters leave; the database stays as it is."""
        for blocks in before:
            for kind, body in blocks:
                self.skip(kind, body)
        self.tree.run("git", "init", "--quiet", "--initial-branch=main")
        self.tree.run("git", "add", "--all")
        self.tree.run("git", "commit", "--quiet", "-m", "as it is")

    def skip(self, kind: str, body: str) -> None:
        """Leave what `follow` would, without running a command."""
        if kind != "console":
            self.follow(kind, body)
            return
        for message, revision, ending in MADE.findall(body):
            _, found, shown = body.partition("def upgrade")  # by `cat`; else the next block shows it
            header = HEADER.format(message=message, revision=revision, down_revision=self.tree.head)
            file = self.tree.path / "migrations" / "versions" / f"{revision}{ending}"
            file.write_text(header + found + shown.partition("\n$ ")[0] * bool(found) + "\n")
            (self.tree.path / "migrations" / "head.txt").write_text(f"{revision}\n")
            self.names[revision] = revision

    def follow(self, kind: str, body: str) -> None:
        if kind == "console":
            for command, expected in commands(body):
                self.type(self.real(command), expected)
        elif kind == "diff":
            (self.tree.path / "change.diff").write_text(body)
            self.tree.run("git", "apply", "--recount", "change.diff")
            (self.tree.path / "change.diff").unlink()
        elif kind == "python" and body.startswith("# "):
            file = self.tree.path / body.partition("\n")[0].removeprefix("# ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(self.real(body))
        elif kind == "python" and body.startswith("def upgrade"):
            versions = self.tree.path / "migrations" / "versions"
            newest = max(versions.glob("*.py"), key=lambda file: file.stat().st_mtime_ns)
            newest.write_text(newest.read_text().partition("def upgrade")[0] + body)

    def type(self, command: str, expected: list[str]) -> None:
        code, output = self.tree.attempt("bash", "-c", command)
        assert code == 0 or expected, f"{command}\n{output}"
        pattern = "".join(self.pattern(line) for line in expected)
        match = re.fullmatch(pattern, output)
        assert match, f"$ {command}\nprinted:\n{output}\nwhere the guide says:\n{self.real(chr(10).join(expected))}"
        self.names |= {name.removeprefix("id_"): value for name, value in match.groupdict().items()}

    def pattern(self, line: str) -> str:
        if line == "…":
            return r"(?:.*\n)*?"
        text = re.escape(self.real(line)).replace("…", ".*")
        new = {name for name in IDENTIFIER.findall(line) if name not in KNOWN and name not in self.names}
        for name in new:
            text = text.replace(name, f"(?P<id_{name}>[0-9a-f]{{12}})", 1)
        return text + r" *\n"

    def real(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines it prints."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, *expected = part.rstrip("\n").split("\n")
        yield command, [line.rstrip() for line in expected]
