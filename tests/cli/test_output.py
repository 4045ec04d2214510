"""What stored text may do to an operator's terminal: nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from dop_be.cli.output import escaped, say_rows, short

Sql = Callable[..., list[Any]]
# Colours, a line of one's own, a carriage return over what stands there, a window's title, bidirectional overrides and
# isolates, line and paragraph separators, an invisible space, 8-bit controls.
TRICKS = "a\x1b[2K\x1b[1A\nmaintenance is off\r\x1b]0;x\x07\u202e\u2066\u200f\u2028\u2029\u200b\x9b31m\x7f"
ESCAPED = (
    r"a\x1b[2K\x1b[1A\nmaintenance is off\r\x1b]0;x\x07\u202e\u2066\u200f\u2028\u2029\u200b\x9b31m\x7f"  # each readable
)


def test_control_characters_are_escaped_and_other_text_is_not() -> None:
    assert escaped(TRICKS) == ESCAPED
    assert escaped("Zurück um 10\u00a0h, 東京 \\n") == "Zurück um 10\u00a0h, 東京 \\n"
    assert escaped("\ud800\U000e0041") == r"\ud800\U000e0041"


@pytest.fixture
def tricked(cli: FlaskCliRunner, sql: Sql) -> FlaskCliRunner:
    """A database in which all text that SQL can store is full of tricks."""
    sql("UPDATE system_settings SET maintenance_message = :text, is_maintain = true, updated_by = :text", text=TRICKS)
    start = datetime.now(UTC) + timedelta(days=2)
    sql(
        "INSERT INTO maintenance_windows (starts_at, ends_at, message, timezone, rrule) VALUES (:a, :b, :text, :z, :r)",
        a=start,
        b=start + timedelta(hours=1),
        text=TRICKS,
        z=TRICKS[:60],
        r=TRICKS,
    )
    for identifier, scopes in (("cafecafe", "settings:read"), ("deadbeef", "maintenance:bypass")):
        sql(
            "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by)"
            " VALUES (:id, :name, 'x', :scopes, :now, :text)",
            id=identifier,
            name=TRICKS + identifier,
            text=TRICKS,
            scopes=scopes,
            now=datetime.now(UTC),
        )
    sql(
        "INSERT INTO changes (id, kind, key, action, changed_at, changed_by, source, reason, changes)"
        " VALUES (1000, 'window', :text, 'update', :now, :text, 'sql', :text, :changes)",
        text=TRICKS,
        now=datetime.now(UTC),
        changes=json.dumps({TRICKS: {"from": None, "to": TRICKS}}),
    )
    return cli


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("maintenance status", 2),
        ("maintenance on", 1),
        ("maintenance windows", 1),
        ("maintenance bypass list", 1),
        ("tokens list", 1),
        ("history --limit 1", 1),
        ("settings show", 8),
        ("settings set maintenance_message=x", 1),
        ("maintenance off", 1),
    ],
)
def test_stored_text_stays_on_its_line_and_moves_no_cursor(tricked: FlaskCliRunner, words: str, lines: int) -> None:
    result = tricked.invoke(args=words.split())
    assert result.exit_code in {0, 1}, result.output
    assert result.output.count("\n") == lines
    assert escaped(result.output.replace("\n", "")) == result.output.replace("\n", "")
    assert (ESCAPED in result.output) == (words != "maintenance off")


@pytest.mark.parametrize(
    "words",
    ["maintenance status", "maintenance windows", "maintenance bypass list", "tokens list", "history", "settings show"],
)
def test_json_is_ascii_on_one_line_and_tells_the_text_as_it_is(tricked: FlaskCliRunner, words: str) -> None:
    said = tricked.invoke(args=[*words.split(), "--json"]).stdout
    assert said.count("\n") == 1
    assert said.strip().isascii()
    assert said.strip().isprintable()
    assert TRICKS in strings(json.loads(said))


def strings(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for each in value.values() for text in strings(each)}
    if isinstance(value, list):
        return {text for each in value for text in strings(each)}
    return {value} if isinstance(value, str) else set()


def test_an_error_that_quotes_stored_text_is_one_line_too(tricked: FlaskCliRunner) -> None:
    result = tricked.invoke(args=["maintenance", "cancel", TRICKS])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "\x1b" not in result.output


def test_columns_line_up_whatever_takes_two_places_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    say_rows([("東京", "", "x"), ("u\u0308", "", "yy"), ("abcd", "", "z")])
    assert capsys.readouterr().out == "東京  x\nu\u0308     yy\nabcd  z\n"
    say_rows([])
    assert capsys.readouterr().out == ""


def test_ids_are_shown_as_long_as_they_have_to_be() -> None:
    one, two, three = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID("3f2a0000-0000-4000-8000-000000000000")
    assert short(three, [one, two, three]) == "3f2a0000"
    assert short(one, [one, two, three]) == str(one)
    assert short(one) == "00000000"
