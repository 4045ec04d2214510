"""The last state: what the workers of a machine last read from PostgreSQL, as text for a start without it.

It has three lines: the SHA-256 of the other two, what it is, and the rows. Of a token it holds the digest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from math import isfinite
from typing import Any, Self
from uuid import UUID

from sqlalchemy.sql.elements import KeyedColumnElement

from ..access.tokens import Token
from ..columns import from_json
from ..maintenance.models import COLUMNS, Component
from ..maintenance.schedule import Window
from ..settings.models import SHOWN
from .clock import boot, steady, unix_time
from .snapshot import Mark, Snapshot, build

FORMAT = 1
KEEP_SECONDS = 10.0  # an unchanged state is confirmed in the file this often
IN_USE_SECONDS = 600.0  # a worker that has not confirmed its state for so long is gone
LONGEST_OFFSET = 366 * 86_400.0  # seconds
SAID = {  # and its types in JSON
    "database": str,
    "version": int,
    "alembic_revision": str,
    "revision": int,
    "row": str | None,
    "system": str,
    "timeline": int,
    "confirmed_at": int | float,
    "clock_offset": int | float,
    "boot": str | None,
    "begun": int | float,
}


class Unusable(Exception):
    """The file is not to be believed; the message says why, in the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Identity:
    """Which server a state was read from, and which life of it (PostgreSQL, `pg_control_system`, "Timelines")."""

    system: str
    timeline: int


@dataclass(frozen=True)
class About:
    """What a file says of its state. `confirmed_at` is when the database last said that it is so, as a Unix time.

    `database` names host, port, database and schema; `clock_offset` is that of `loader.Reading`. In the life of the
    system that `boot` names the database's time was `begun` when the steady clock was at 0.
    """

    database: str
    mark: Mark
    identity: Identity | None
    confirmed_at: float
    clock_offset: float
    boot: str | None
    begun: float

    @classmethod
    def load(cls, said: Mapping[str, Any]) -> Self:
        """Return what a file says, checked.

        Raises:
            KeyError, TypeError, ValueError: it is not of this form.
        """
        mark, identity = said["mark"], said["identity"]
        _check({**said, **mark, **(identity or {})}, SAID)
        if not isfinite(said["confirmed_at"] + said["begun"]) or not abs(said["clock_offset"]) < LONGEST_OFFSET:
            raise ValueError("a time that there is not")
        return cls(**{**said, "mark": Mark(**mark), "identity": identity and Identity(**identity)})

    def offset(self) -> float:
        """Return how many seconds the database's clock is ahead of this host's, as far as it can be known.

        While the system lives that is exact, though its clock was set meanwhile.
        """
        return self.begun + steady() - time.time() if self.boot and self.boot == boot() else self.clock_offset

    def age(self) -> float:
        """Return how long ago the state was confirmed, in seconds; negative where a clock was set back."""
        return unix_time(self.offset()) - self.confirmed_at

    def goes_before(self, kept: Self) -> bool:
        """Whether this takes the place of what a file keeps: another worker's, or one from before a restart.

        Raises:
            Unusable: the file is of another database, or of a later life of this one, and in use.
        """
        if kept.age() < 0:  # the clock was set back
            return True
        if kept.age() < IN_USE_SECONDS:
            if self.database != kept.database:
                raise Unusable(f"is in use for another database, {kept.database}: give each a STATE_FILE of its own")
            if self.is_earlier_life(kept):
                raise Unusable(
                    "is of a later timeline than the database: it is left alone, for this may be an old primary"
                )
        wait = 0.0
        if self.database == kept.database and self.mark.version < kept.mark.version:
            wait = 2 * KEEP_SECONDS  # an older backup, and not a worker that has not yet heard of the last change
        elif (self.database, self.mark) == (kept.database, kept.mark):
            wait = KEEP_SECONDS
        return self.confirmed_at >= kept.confirmed_at + wait

    def differs(self, kept: Self) -> str | None:
        """Say how the database is another than that of the last state, without a full stop."""
        one, other, versions = self.identity, kept.identity, (kept.mark.version, self.mark.version)
        if self.database != kept.database:
            return None
        if one and other and one.system != other.system:
            return f"the database is another server's than the last state: system {one.system}, not {other.system}"
        if self.is_earlier_life(kept):
            return "the database has long been at an earlier timeline than the last state: is it an old primary?"
        if versions[1] < versions[0]:
            return "the database went back from version {}, which the last state had, to {}".format(*versions)
        return None

    def is_earlier_life(self, kept: Self) -> bool:
        """Whether this is of the same server before it was promoted, or restored to a point in time."""
        one, other = self.identity, kept.identity
        return bool(one and other and one.system == other.system and one.timeline < other.timeline)


def write(snapshot: Snapshot, about: About) -> bytes:
    """Return a state as text."""
    said = json.dumps({"format": FORMAT, **asdict(about)}).encode()
    text = b"%s\n%s\n" % (said, json.dumps(_rows(snapshot), default=_as_json).encode())
    return sha256(text).hexdigest().encode() + b"\n" + text


def _rows(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "settings": dict(snapshot.settings),
        "tokens": [asdict(token) for token in snapshot.tokens.values()],
        "windows": [asdict(window) for window in snapshot.windows],
        "components": [dict(component) for component in snapshot.components.values()],
    }


def read_about(line: bytes) -> About:
    """Return what the second line says.

    Raises:
        Unusable: it is not of this format.
    """
    with _believing("is no last state of this format"):
        said = json.loads(line)
        if said.pop("format") != FORMAT:
            raise ValueError
        return About.load(said)


def read_rows(mark: Mark, line: bytes) -> Snapshot:
    """Return the snapshot of the third line.

    Raises:
        Unusable: a value is missing, or one that the database of this release would not take.
    """
    with _believing("does not fit this release"):
        rows = json.loads(line)
        return build(
            mark,
            {column.key: _value(column, rows["settings"][column.key]) for column in SHOWN},
            tokens=[_token(row) for row in rows["tokens"]],
            windows=[_window(row) for row in rows["windows"]],
            components=[_component(row) for row in rows["components"]],
        )


def _window(row: Mapping[str, Any]) -> Window:
    return Window(**{name: _value(column, row[name]) for name, column in COLUMNS.items()})


def _component(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column.key: _value(column, row[column.key]) for column in Component.__table__.columns}


def _value(column: KeyedColumnElement[Any], said: Any) -> Any:
    """Return a value from JSON, of which the database itself would take as much."""
    value = from_json(column.type, said)
    if value is None and column.nullable:
        return None
    written = value if isinstance(value, str | int | float) else _as_json(value)
    if value is None or not isinstance(value, column.type.python_type) or written != said:
        raise TypeError(f"{column.key} is {said!r}")
    return value


def _check(said: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if name in said and (not isinstance(said[name], kind) or isinstance(said[name], bool)):
            raise TypeError(f"{name} is {said[name]!r}")


def _token(row: Mapping[str, Any]) -> Token:
    _check(row, {"id": str, "name": str, "digest": str, "scopes": list, "components": list | None})
    expires_at = row["expires_at"] and datetime.fromisoformat(row["expires_at"])
    components = None if row["components"] is None else frozenset(row["components"])
    return Token(**{**row, "scopes": frozenset(row["scopes"]), "expires_at": expires_at, "components": components})


def _as_json(value: object) -> Any:
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(type(value).__name__)


@contextmanager
def _believing(otherwise: str) -> Iterator[None]:
    """Take whatever goes wrong with what a file says for the file's fault."""
    try:
        yield
    except Exception as error:
        raise Unusable(f"{otherwise}: {type(error).__name__}: {error}") from error
