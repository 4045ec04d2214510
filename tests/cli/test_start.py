"""How a command starts: soon, from the project's root or with --app, and with what it needs alone."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from dop_be.cli import GROUPS
from tests import processes

# What serves requests, writes log lines or migrates. Each takes a twentieth of a command's start or more.
NOT_NEEDED = {"alembic", "apispec", "flask_cors", "flask_smorest", "mako", "structlog", "webargs"}


def loaded(url: str, *words: str) -> set[str]:
    """The packages that a command has imported."""
    command = [sys.executable, "-X", "importtime", "-m", "flask", "--app", "wsgi", *words]
    done = processes.run(command, env=processes.environment(DATABASE_URL=url))
    found = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "dop_be.cli.commands" in found
    return found | {name.partition(".")[0] for name in found}


@pytest.mark.parametrize(
    "words", ["maintenance status", "maintenance windows", "settings show", "tokens list", "history"]
)
def test_a_command_loads_nothing_that_it_does_not_need(sqlite_url: str, words: str) -> None:
    assert loaded(sqlite_url, *words.split()) & {*NOT_NEEDED, "dop_be.web", "dop_be.panel"} == set()


def test_what_flask_and_its_extensions_bring_still_works(sqlite_url: str) -> None:
    def run(*words: str) -> str:
        given = processes.environment(DATABASE_URL=sqlite_url)
        return processes.run([sys.executable, "-m", "flask", "--app", "wsgi", *words], env=given).stdout

    assert re.search(r"^health\.readyz +GET +/readyz", run("routes"), re.MULTILINE)
    assert '"/api/v1/maintenance"' in run("openapi", "print")
    assert run("db", "current").endswith(" (head)\n")
    assert re.search(r"^  openapi +\S", run("--help"), re.MULTILINE)


def leaves(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    """Every command, by its words; a group that does something by itself is one too."""
    if group.invoke_without_command:
        yield names
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from leaves(found, *names, name)
        else:
            yield (*names, name)


# What each needs beside its name.
ARGUMENTS = {
    "maintenance schedule": "2031-12-02T02:00Z 2031-12-02T04:00Z",
    "maintenance cancel": "3f2a",
    "maintenance extend": "+30m",
    "components add": "billing",
    "components remove": "billing",
    "maintenance bypass create": "ada",
    "maintenance bypass revoke": "ada",
    "settings set": "maintenance_message=x",
    "settings restore": "1",
    "settings undo": "1",
    "history prune": "--before 2026-01-01",
    "tokens create": "ci --scope settings:read",
    "tokens revoke": "ci",
}


def test_every_command_says_which_file_it_works_on_and_prints_one_document(
    make_app: Callable[..., Flask], sqlite_url: str, tmp_path: Path, migrated_sqlite: Path
) -> None:
    folder = shutil.copytree(processes.project(), tmp_path / "dop_be")
    (folder / "instance").mkdir()
    shutil.copy(migrated_sqlite, folder / "instance" / "dop_be.sqlite3")
    app = make_app(sqlite_url)
    with app.app_context():
        commands = [words for name in GROUPS for words in leaves(group_named(app, name), name)]
    assert len(commands) > len(ARGUMENTS)
    for words in commands:
        more = ARGUMENTS.get(" ".join(words), "").split()
        done = processes.run(["flask", *words, *more, "--json"], cwd=folder, env=processes.environment(), check=False)
        said = f"DATABASE_URL is not set: working on the SQLite file {folder}/instance/dop_be.sqlite3\n"
        assert done.stderr.count(said) == 1, (words, done.stderr)
        if done.returncode == 2:
            assert words[-1] in {"cancel", "extend"}, done.stderr  # there is no window
            assert done.stdout == ""
        else:
            assert done.stdout.count("\n") == 1
            assert isinstance(json.loads(done.stdout), dict), words


def test_every_command_is_documented(app: Flask) -> None:
    documents = " ".join(path.read_text() for path in (processes.ROOT / "docs").glob("*.md"))
    with app.app_context():
        commands = [" ".join(words) for name in GROUPS for words in leaves(group_named(app, name), name)]
    assert len(commands) > len(ARGUMENTS)
    assert [words for words in commands if f"flask {words}" not in documents] == []


def group_named(app: Flask, name: str) -> click.Group:
    group = app.cli.get_command(click.Context(app.cli), name)
    assert isinstance(group, click.Group)
    return group


def completed(*words: str) -> list[str]:
    """What a shell offers after these words, by click's own completion."""
    given = processes.environment(
        _FLASK_COMPLETE="bash_complete", COMP_WORDS=" ".join(["flask", *words]), COMP_CWORD=str(len(words))
    )
    done = processes.run([str(processes.BIN / "flask")], env=given)
    return [line.removeprefix("plain,") for line in done.stdout.splitlines()]


def test_a_shell_completes_commands_options_and_choices() -> None:
    assert completed("main") == ["maintenance"]
    assert completed("maintenance", "st") == ["status"]
    assert "--message" in completed("maintenance", "on", "--m")
    assert completed("maintenance", "on", "--mode", "") == ["full", "read_only"]
