"""What is asked on a terminal, in a real one, and what is not asked without."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests import processes

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(database_url: str) -> Typed:
    """Runs a command with a terminal for stdin and stderr; returns its code, its stdout and what the terminal shows."""

    def run(*words: str, answer: str = "") -> tuple[int, str, str]:
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
        given = processes.environment(DATABASE_URL=database_url)
        process = processes.start(command, env=given, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True)
        said = process.communicate(timeout=60)[0]
        shown = os.read(ours, 100_000).decode() if select.select([ours], [], [], 0)[0] else ""
        os.close(theirs)
        os.close(ours)
        return process.returncode, said, shown

    return run


def recurring(typed: Typed) -> str:
    words = ("schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z", "--every", "daily", "--json")
    return str(json.loads(typed("maintenance", *words)[1])["id"])


def windows(typed: Typed) -> list[Any]:
    return list(json.loads(typed("maintenance", "windows", "--json")[1])["windows"])


def test_cancelling_a_recurring_window_asks(typed: Typed) -> None:
    identifier = recurring(typed)
    code, said, shown = typed("maintenance", "cancel", identifier[:4], answer="n\n")
    assert (code, said) == (2, "")
    assert f"Cancel all times of window {identifier}, every FREQ=DAILY in UTC? [y/N] " in shown
    assert "Nothing was changed." in shown
    assert len(windows(typed)) == 1
    assert typed("maintenance", "cancel", identifier, answer="\x04")[0] == 2  # the end of the input is no yes
    code, said, _ = typed("maintenance", "cancel", identifier, "--json", answer="y\n")
    assert (code, json.loads(said)["changed"]) == (0, True)
    assert windows(typed) == []


def test_yes_answers_and_a_single_window_asks_nothing(typed: Typed) -> None:
    assert typed("maintenance", "cancel", recurring(typed), "--yes")[1].startswith("cancelled window ")
    planned = typed("maintenance", "schedule", "2031-12-02T02:00Z", "2031-12-02T04:00Z")[1]
    [identifier] = re.findall(r"[0-9a-f-]{36}", planned)
    assert typed("maintenance", "cancel", identifier)[1].startswith("cancelled window ")


def test_restoring_asks(typed: Typed) -> None:
    typed("settings", "set", "maintenance_message=a")
    code, said, shown = typed("settings", "restore", "1", answer="no\n")
    assert (code, said) == (2, "")
    assert "the value that it had at revision 1? [y/N] " in shown
    assert typed("settings", "restore", "1", answer="yes\n")[:2] == (0, "revision 2: nothing to change\n")
    assert typed("settings", "restore", "1", "--yes")[:2] == (0, "revision 2: nothing to change\n")
