"""What commands print: for people columns and no control character, for programs one JSON document."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ..documents import encode
from .times import local

# Control and format characters, bidirectional ones included, lone surrogates, private and unassigned ones, line breaks.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
SHORT = 8  # characters of an id that people are shown

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document, with the API's members.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def escaped(text: str) -> str:
    """Return a text on one line, every control character shown escaped: stored text may come from SQL."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()


def say(line: str) -> None:
    """Print one line for people."""
    click.echo(escaped(line))


def note(line: str) -> None:
    """Print one line for people on stderr, beside what a command says."""
    click.echo(escaped(line), err=True)


def say_json(body: Mapping[str, Any] | bytes) -> None:
    """Print one JSON document, times in UTC; bytes are one already."""
    click.echo(body if isinstance(body, bytes) else encode(body), nl=False)


def say_rows(rows: Iterable[Sequence[str]]) -> None:
    """Print one line for each row, in columns that line up; a column that is empty in every row is left out."""
    shown = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True) if width]
        click.echo("  ".join(cells).rstrip())


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode Standard Annex 11)."""
    wide = sum(unicodedata.east_asian_width(character) in {"W", "F"} for character in text)
    return len(text) + wide - sum(bool(unicodedata.combining(character)) for character in text)


def value(stored: Any) -> str:
    """Return a setting or a recorded value for people."""
    if isinstance(stored, datetime):
        return local(stored)
    return stored if isinstance(stored, str) else json.dumps(stored, ensure_ascii=False)


def short(identifier: object, among: Iterable[object] = ()) -> str:
    """Return the shortest beginning of an id, of SHORT characters at least, that no other one of these ids has."""
    text, others = str(identifier), [str(other) for other in among if other != identifier]
    lengths = range(SHORT, len(text))
    return text[: next((length for length in lengths if not any(o.startswith(text[:length]) for o in others)), None)]
