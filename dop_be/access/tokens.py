"""Named tokens as a request meets them: pure functions of the tokens in force, the text that came, and the time."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

SCOPES = ("settings:read", "settings:write", "maintenance:write")
IMPLIED = {"settings:write": "settings:read"}
ID_LENGTH = 8  # hexadecimal digits
NOBODY = sha256(b"").hexdigest()  # what an unknown id is compared with, so that it takes as long as a known one


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was not revoked; `digest` is the SHA-256 of its whole text in hexadecimal."""

    name: str
    digest: str
    scopes: frozenset[str]
    expires_at: datetime | None


def new() -> tuple[str, str]:
    """An id, and the whole text of a token with it: `dop_<id>_<192 random bits>`."""
    identifier = secrets.token_hex(ID_LENGTH // 2)
    return identifier, f"dop_{identifier}_{secrets.token_hex(24)}"


def digest(text: str) -> str:
    """What is kept of a token. It is random already, so that a slow hash would add nothing."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def same(text: str, expected: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing about either, its length included."""
    return hmac.compare_digest(digest(text), digest(expected))


def find(tokens: Mapping[str, Token], text: str, now: datetime) -> Token | None:
    """The token in force with this text, if there is one; `tokens` is by id."""
    known = tokens.get(text[4 : 4 + ID_LENGTH])
    matches = hmac.compare_digest(digest(text), known.digest if known else NOBODY)
    if known is None or not matches or (known.expires_at is not None and known.expires_at <= now):
        return None
    return known


def with_implied(scopes: str) -> frozenset[str]:
    """The scopes in a list with spaces between (RFC 6749 section 3.3), and those that they imply."""
    named = scopes.split()
    return frozenset([*named, *(IMPLIED[scope] for scope in named if scope in IMPLIED)])
