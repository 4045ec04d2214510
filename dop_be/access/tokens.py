"""Tokens: pure functions of the known tokens, the text that came, and the time."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

BYPASS = "maintenance:bypass"  # passes the gate; a token with this scope has no other and authenticates nothing else
SCOPES = (
    "settings:read",
    "settings:write",
    "maintenance:write",
    "components:write",
    "tokens:write",
    "metrics:read",
)
LIMITABLE = frozenset({BYPASS, "maintenance:write", "settings:read", "metrics:read"})  # to components
IMPLIED = {"settings:write": "settings:read"}
ID_LENGTH = 8  # hexadecimal digits
BYPASS_LIFETIME = timedelta(hours=2)  # where none is asked for
LONGEST_BYPASS = timedelta(days=30)
LAST_DAY = datetime.max.replace(tzinfo=UTC) - LONGEST_BYPASS  # SQL may have stored an `infinity`
NOBODY = sha256(b"").hexdigest()  # what an unknown id is compared with, so that it takes as long as a known one


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was not revoked; `digest` is the SHA-256 of its whole text in hexadecimal.

    `components` are those that it is limited to; None: it is not limited.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[str]
    expires_at: datetime | None
    components: frozenset[str] | None = None

    @property
    def bypasses(self) -> bool:
        """Whether it passes the gate, and so authenticates nothing."""
        return BYPASS in self.scopes

    def covers(self, component: str | None) -> bool:
        """Whether it counts for a component; with None for the platform, and so for every component."""
        return self.components is None or component in self.components

    def is_over(self, now: float) -> bool:
        """Whether it has expired at a Unix time."""
        return self.expires_at is not None and self.expires_at.timestamp() <= now

    def exceeds(self, other: Token) -> bool:
        """Whether it may do anything that another may not, or for longer."""
        longer = other.expires_at is not None and (self.expires_at is None or self.expires_at > other.expires_at)
        wider = other.components is not None and (self.components is None or not self.components <= other.components)
        return longer or wider or not self.scopes <= other.scopes


Tokens = Mapping[str, Token]  # by id


def new() -> tuple[str, str]:
    """Make an id, and the whole text of a token with it: `dop_<id>_<192 random bits>`."""
    identifier = secrets.token_hex(ID_LENGTH // 2)
    return identifier, f"dop_{identifier}_{secrets.token_hex(24)}"


def digest(text: str) -> str:
    """Return what is kept of a token. It is random already, so that a slow hash would add nothing."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def same(text: str, expected: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing about either, its length included."""
    return hmac.compare_digest(digest(text), digest(expected))


def find(tokens: Tokens, text: str, now: float) -> Token | None:
    """Return the token with this text that is in force at a Unix time; None where there is none."""
    known = tokens.get(text[4 : 4 + ID_LENGTH])
    matches = hmac.compare_digest(digest(text), known.digest if known else NOBODY)
    return known if known is not None and matches and not known.is_over(now) else None


def load(row: Mapping[Any, Any]) -> Token:
    """Return the token of a row: its scopes, with spaces between (RFC 6749 section 3.3), and those that they imply.

    SQL may have stored what the service never does: a bypass ends after 2 hours where nothing is said, after 30 days
    whatever is said, and has no other scope.
    """
    named, expires_at = frozenset(row["scopes"].split()), row["expires_at"]
    if BYPASS in named:
        made = min(row["created_at"], LAST_DAY)
        named, expires_at = frozenset({BYPASS}), min(expires_at or made + BYPASS_LIFETIME, made + LONGEST_BYPASS)
    implied = {IMPLIED[scope] for scope in named if scope in IMPLIED}
    limits = row.get("components")
    if limits is None:
        return Token(row["id"], row["name"], row["digest"], named | implied, expires_at)
    scopes = (named | implied) & LIMITABLE  # SQL may have stored others
    return Token(row["id"], row["name"], row["digest"], scopes, expires_at, frozenset(limits.split()))
