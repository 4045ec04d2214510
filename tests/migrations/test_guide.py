"""docs/migrations.md is a session: its commands run one after the other, and print what it says.

A `console` block holds commands after `$ ` and what they print; `…` stands for anything, on a line of its own for any
lines. A `diff` block is applied. A `python` block that defines upgrade() replaces that part of the newest revision. An
identifier of twelve hexadecimal digits that the repository does not know stands for the one that is really made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .tree import ROOT, Tree

GUIDE = ROOT / "docs" / "migrations.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IDENTIFIER = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
KNOWN = {file.name[:12] for file in (ROOT / "migrations" / "versions").glob("*.py")}


@dataclass
class Reader:
    """Does what the guide says."""

    tree: Tree
    names: dict[str, str] = field(default_factory=dict)  # the guide's identifiers and paths, and the real ones

    def follow(self, kind: str, body: str) -> None:
        if kind == "console":
            for command, expected in commands(body):
                self.type(self.real(command), expected)
        elif kind == "diff":
            (self.tree.path / "change.diff").write_text(body)
            self.tree.run("git", "apply", "--recount", "change.diff")
            (self.tree.path / "change.diff").unlink()
        elif kind == "python" and body.startswith("def upgrade"):
            newest = max(
                (self.tree.path / "migrations" / "versions").glob("*.py"), key=lambda file: file.stat().st_mtime
            )
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


def test_every_command_of_the_guide_prints_what_the_guide_says(make_tree: Callable[[str], Tree], url: str) -> None:
    tree = make_tree(url)
    tree.environment |= {
        "PYTHONUNBUFFERED": "1",
        "PGOPTIONS": "-c client_min_messages=warning",
        "GIT_AUTHOR_NAME": "A Reader",
        "GIT_AUTHOR_EMAIL": "reader@example.com",
        "GIT_COMMITTER_NAME": "A Reader",
        "GIT_COMMITTER_EMAIL": "reader@example.com",
    }
    (tree.path / ".gitignore").write_text("__pycache__/\n")
    tree.run("git", "init", "--quiet", "--initial-branch=main")
    tree.run("git", "add", "--all")
    tree.run("git", "commit", "--quiet", "-m", "as it is")
    reader = Reader(tree, {"/srv/dop_be": str(tree.path), "postgresql://app@db/dop_be": url})
    for kind, body in BLOCK.findall(GUIDE.read_text()):
        reader.follow(kind, body)
