"""The states of the database in their order, replayed from what each of its lives recorded in `changes`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from dop_be.access import tokens
from dop_be.access.tokens import Token
from dop_be.maintenance.schedule import Window

from ..record import Epoch

Row = Mapping[str, Any]
Transaction = tuple[Row, ...]
TIMES = ("starts_at", "ends_at", "ended_at")
WINDOW_FIELDS = frozenset({*TIMES, "mode", "message", "timezone", "rrule", "ad_hoc"})


@dataclass(frozen=True, eq=False)
class State:
    """All that decides about answers; windows are by id, tokens in force by name."""

    settings: Mapping[str, Any]
    windows: Mapping[str, Window]
    tokens: Mapping[str, Token]


NOTHING = State(
    {
        "is_maintain": False,
        "maintenance_mode": "full",
        "maintenance_message": None,
        "maintenance_since": None,
        "revision": 0,
    },
    {},
    {},
)


@dataclass(frozen=True, eq=False)
class Step:
    """A state and the transaction that made it, which is empty where a copy came into force."""

    index: int
    epoch: int
    transaction: Transaction
    state: State

    @property
    def reason(self) -> str | None:
        return self.transaction[0]["reason"] if self.transaction else None


@dataclass(frozen=True, eq=False)
class Life:
    """One epoch's transactions, of which the life before has `shared` too; `first` is the index of its first state."""

    epoch: Epoch
    transactions: Sequence[Transaction]
    shared: int
    first: int
    places: Mapping[str, Sequence[int]]  # by reason, in `transactions`

    def index(self, place: int) -> int:
        """Return the first state of this life that has a transaction."""
        if self.epoch.number == 0:
            return place
        return self.first + max(0, place - self.shared + 1)

    def rows(self, reason: str) -> list[Row]:
        """Return all rows with a reason."""
        return [row for place in self.places.get(reason, ()) for row in self.transactions[place]]

    def revokes(self, name: str, before: float) -> bool:
        """Whether a token of this name was revoked in it before a moment."""
        rows = (row for transaction in self.transactions for row in transaction)
        return any(_revokes(row, name) and row["changed_at"] < before for row in rows)


@dataclass(frozen=True, eq=False)
class States:
    """The states of all lives, one after the other."""

    steps: list[Step] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)

    @property
    def last(self) -> int:
        return len(self.steps) - 1

    def made_by(self, write: str) -> int | None:
        """Return the first state that has the change of a write, None where no life has it."""
        return min((life.index(life.places[write][0]) for life in self.lives if write in life.places), default=None)

    def life(self, index: int) -> Life:
        """Return the life to which a state belongs."""
        return self.lives[self.steps[index].epoch]


def states(epochs: Iterable[Epoch]) -> States:
    """Replay the epochs; a later one begins with the state that it has in common with the one before."""
    found = States()
    before: Sequence[Transaction] = ()
    for place, epoch in enumerate(epochs):
        epoch = replace(epoch, number=place)  # noqa: PLW2901 - so that numbers may begin at 1
        own = transactions(epoch.changes)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, own, strict=False)))
        found.lives.append(Life(epoch, own, shared, len(found.steps), _places(own)))
        _replay(found, place, own, shared)
        before = own
    return found


def transactions(rows: Iterable[Row]) -> list[Transaction]:
    """Group consecutive rows of one transaction, which became visible together."""
    found: list[list[Row]] = []
    for row in rows:
        if found and _continues(found[-1], row):
            found[-1].append(row)
        else:
            found.append([row])
    return [tuple(group) for group in found]


def _continues(group: Sequence[Row], row: Row) -> bool:
    """Whether a row belongs to the transaction of those before it.

    The times of one transaction's rows differ, since triggers write the time of the statement. So the reason and the
    request count, which are a write's own. No transaction changes one thing twice, except that a new token may first
    revoke an expired one of its name.
    """
    last = group[-1]
    if (last["reason"], last["request_id"]) != (row["reason"], row["request_id"]):
        return False
    if row["reason"] is None and row["request_id"] is None and last["changed_at"] != row["changed_at"]:
        return False
    return all(_thing(earlier) != _thing(row) for earlier in group)


def _thing(row: Row) -> tuple[Any, ...]:
    return (row["kind"], row["key"], row["action"] if row["kind"] == "token" else None)


def _places(own: Sequence[Transaction]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, transaction in enumerate(own):
        if reason := transaction[0]["reason"]:
            found.setdefault(reason, []).append(place)
    return found


def _replay(found: States, epoch: int, own: Sequence[Transaction], shared: int) -> None:
    state = NOTHING
    for place, transaction in enumerate(own):
        if epoch > 0 and place == shared:
            _append(found, epoch, (), state)
        for row in transaction:
            state = _after(state, row)
        if place >= shared:
            _append(found, epoch, transaction, state)
    if epoch > 0 and shared == len(own):
        _append(found, epoch, (), state)


def _append(found: States, epoch: int, transaction: Transaction, state: State) -> None:
    found.steps.append(Step(len(found.steps), epoch, transaction, state))


def _after(state: State, row: Row) -> State:
    """Return the state after one row of `changes`."""
    if row["kind"] == "settings":
        if row["values"] is None:  # deleted entries of the history
            return state
        since = {"maintenance_since": None}
        return replace(state, settings={**since, **row["values"], "revision": row["revision"]})
    if row["kind"] == "window":
        return replace(state, windows=_with(state.windows, row["key"], _window(state, row)))
    return replace(state, tokens=_with(state.tokens, row["key"], _token(state, row)))


def _with(things: Mapping[str, Any], key: str, thing: Any) -> dict[str, Any]:
    others = {name: other for name, other in things.items() if name != key}
    return others if thing is None else {**others, key: thing}


def _window(state: State, row: Row) -> Window | None:
    if row["action"] == "delete":
        return None
    values = {name: sides["to"] for name, sides in row["changes"].items() if name in WINDOW_FIELDS}
    for name in TIMES:
        if values.get(name) is not None:
            values[name] = _time(values[name])
    known = state.windows.get(row["key"])
    return replace(known, **values) if known else Window(uuid.UUID(row["key"]), **values)


def _token(state: State, row: Row) -> Token | None:
    if row["action"] == "delete" or _revokes(row, row["key"]):
        return None
    known, values = state.tokens.get(row["key"]), {name: sides["to"] for name, sides in row["changes"].items()}
    expires_at, scopes = known and known.expires_at, " ".join(known.scopes) if known else ""
    if values.get("expires_at"):
        expires_at = _time(values["expires_at"])
    made = datetime.fromtimestamp(row["changed_at"], UTC)
    facts = {"id": "", "name": row["key"], "digest": "", "created_at": made, "expires_at": expires_at}
    return tokens.load({**facts, "scopes": values.get("scopes", scopes)})


def _revokes(row: Row, name: str) -> bool:
    revoked = row["changes"].get("revoked_at") or {}
    return row["kind"] == "token" and row["key"] == name and revoked.get("to") is not None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
