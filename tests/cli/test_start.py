"""How a command starts: soon, from the project's root or with --app, and with what it needs alone."""

from __future__ import annotations

import re
import sys

import pytest

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
