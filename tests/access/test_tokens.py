"""Tokens as pure functions: which text is in force at which moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dop_be.access.tokens import BYPASS, NOBODY, Token, digest, find, load, new

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_token_has_its_id_and_at_least_128_random_bits() -> None:
    identifier, text = new()
    match = re.fullmatch(r"dop_([0-9a-f]{8})_([0-9a-f]+)", text)
    assert match is not None
    assert match[1] == identifier
    assert len(match[2]) * 4 >= 128
    assert new() != (identifier, text)


@pytest.mark.parametrize(
    ("expires_at", "found"),
    [(None, True), (NOW + timedelta(seconds=1), True), (NOW, False), (NOW - timedelta(seconds=1), False)],
)
def test_a_token_is_found_until_it_expires(expires_at: datetime | None, found: bool) -> None:
    identifier, text = new()
    token = Token(identifier, "ci", digest(text), frozenset(), expires_at)
    assert find({identifier: token}, text, NOW.timestamp()) == (token if found else None)


def test_only_the_whole_text_is_found() -> None:
    identifier, text = new()
    tokens = {identifier: Token(identifier, "ci", digest(text), frozenset(), None)}
    cut = ("", "dop_", f"dop_{identifier}_", text[:-1], text + "0")
    for wrong in (*cut, text.upper(), "Dop" + text[3:], new()[1], "\udcff"):
        assert find(tokens, wrong, NOW.timestamp()) is None


def test_an_unknown_id_is_compared_as_long_as_a_known_one() -> None:
    assert len(NOBODY) == len(digest("any"))


def row(scopes: str, expires_at: datetime | None = None) -> dict[str, Any]:
    return {"id": "1", "name": "ci", "digest": "", "scopes": scopes, "created_at": NOW, "expires_at": expires_at}


def test_write_implies_read() -> None:
    assert load(row("settings:write")).scopes == {"settings:write", "settings:read"}
    assert load(row("maintenance:write")).scopes == {"maintenance:write"}


@pytest.mark.parametrize(
    ("asked", "given"),
    [(timedelta(hours=2), timedelta(hours=2)), (timedelta(days=31), timedelta(days=30)), (None, timedelta(hours=2))],
)
def test_a_bypass_has_no_other_scope_and_ends_within_30_days_whoever_stored_it(
    asked: timedelta | None, given: timedelta
) -> None:
    token = load(row(f"settings:write {BYPASS}", NOW + asked if asked else None))
    assert token.bypasses
    assert token.scopes == {BYPASS}
    assert token.expires_at == NOW + given
