"""The properties of writes: `compare_and_set`, `recorded_once`, `revoked_never_writes`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from ..record import Epoch, Write
from .case import Case, Found, name
from .noops import SWITCHED, may_change_nothing
from .policy import TOLERANCE
from .restored import wrong_values
from .states import Life, Row

OF_THE_SETTINGS = ("patch", "switch", "restore", "undo")
WINDOW = ("starts_at", "ends_at", "mode", "message")


def compare_and_set(case: Case) -> Found:
    """Yield where changes to the settings do not follow one another, each made to what it expected."""
    for life in case.states.lives:
        yield from _gaps(life)
        yield from _out_of_order(case, life)
    for write in case.history.writes:
        if write.status == 412:
            yield from _wrong_conflict(case, write)
        elif write.outcome == "acknowledged" and write.kind in OF_THE_SETTINGS:
            if write.kind in {"restore", "undo"}:
                yield from wrong_values(case, write)
            for row in _settings_rows(case, write):
                yield from _wrong_answer(write, row)


def _gaps(life: Life) -> Found:
    rows = [row for transaction in life.transactions for row in transaction if row["revision"] is not None]
    for earlier, later in pairwise(rows):
        if later["revision"] != earlier["revision"] + 1:
            told = f"epoch {life.epoch.number} has revision {later['revision']} ({later['reason']}) after revision"
            yield f"{told} {earlier['revision']} ({earlier['reason']})", later["changed_at"]


def _out_of_order(case: Case, life: Life) -> Found:
    """Yield writes that were answered before an earlier change was asked for."""
    writes, latest = {write.id: write for write in case.history.writes}, None
    for reason in life.places:
        write = writes.get(reason)
        if write is None:
            continue
        if latest and write.outcome == "acknowledged" and write.received < latest.sent:
            yield f"{name(write)} was acknowledged before {name(latest)} was sent, and comes after it", write.received
        latest = max(latest or write, write, key=lambda known: known.sent)


def _settings_rows(case: Case, write: Write) -> Iterator[Row]:
    """Yield the rows in which the lives have a write's change to the settings, each once."""
    seen: list[Row] = []
    for life in case.states.lives:
        for row in life.rows(write.id):
            if row["kind"] == "settings" and row["values"] is not None and row not in seen:
                seen.append(row)
                yield row


def _wrong_answer(write: Write, row: Row) -> Found:
    known = {**row["values"], "revision": row["revision"]}
    asked = write.asked.get("values") or {}
    compared: list[tuple[str, Mapping[str, Any]]] = [
        ("asked for", _switched(write)),
        ("was told", {field: value for field, value in write.answer.items() if field in known}),
        ("asked for", {field: value for field, value in asked.items() if field in known}),
    ]
    for verb, values in compared:
        for field, value in values.items():
            if value != known.get(field):
                yield f"{name(write)} {verb} {field} {value!r}, and changes has {known.get(field)!r}", write.received
    expected = write.asked.get("if_match")
    if expected is not None and row["revision"] != expected + 1:
        yield f"{name(write)} made revision {row['revision']}, though it expected {expected}", write.received
    active = write.answer.get("active", write.asked.get("active"))
    if active != write.asked.get("active"):
        yield f"{name(write)} asked for active {write.asked['active']}, and was told {active}", write.received


def _switched(write: Write) -> dict[str, Any]:
    """Return what a move of the switch asks of the settings, nothing where it opens a window in its place."""
    if write.kind != "switch" or "ends_at" in write.asked:
        return {}
    return {field: write.asked[name] for name, field in SWITCHED.items() if name in write.asked}


def _wrong_conflict(case: Case, write: Write) -> Found:
    asked, told = write.asked.get("if_match"), write.answer.get("etag_revision")
    steps = [case.states.steps[index] for index in case.bounds.range(write)]
    possible = {step.state.settings["revision"] for step in steps} - {asked}
    if not possible or (told is not None and told not in possible):
        known = ", ".join(map(str, sorted(possible))) or "no other"
        yield f"{name(write)} expected {asked} and was told of {told}; possible was {known}", write.received


def recorded_once(case: Case) -> Found:
    """Yield acknowledged writes that do not stand in `changes` once, with their author, and others that do."""
    for write in case.history.writes:
        yield from _doubled(case, write)
        yield from _wrong_author(case, write)
        yield from _wrong_window(case, write)
        has = [life.epoch.number for life in case.states.lives if write.id in life.places]
        if write.outcome == "refused" and has:
            yield f"{name(write)} was refused, and stands in the changes of epoch {has[0]}", write.received
        elif write.outcome == "acknowledged" and has:
            for number in sorted(set(_homes(case, write)) - set(has)):
                yield f"{name(write)} was acknowledged, and is not in the changes of epoch {number}", write.received
        elif write.outcome == "acknowledged" and not may_change_nothing(case, write):
            yield f"{name(write)} was acknowledged, and is in no changes though it changes something", write.received
    yield from _foreign(case)


def _doubled(case: Case, write: Write) -> Found:
    for life in case.states.lives:
        times = len(life.places.get(write.id, ()))
        if times > 1:
            yield f"{name(write)} stands {times} times in the changes of epoch {life.epoch.number}", write.received


def _wrong_author(case: Case, write: Write) -> Found:
    authors = {row["changed_by"] for life in case.states.lives for row in life.rows(write.id)}
    for author in sorted(authors - {write.author}):
        yield f"{name(write)} is recorded as by {author}, and was by {write.author}", write.received


def _wrong_window(case: Case, write: Write) -> Found:
    """Yield windows that were made otherwise than asked for."""
    asked = {field: write.asked[field] for field in WINDOW if field in write.asked}
    for row in (row for life in case.states.lives for row in life.rows(write.id)):
        if row["kind"] == "window" and row["action"] != "delete":
            made = {field: sides["to"] for field, sides in row["changes"].items()}
            for field, value in asked.items():
                if field in made and not _alike(value, made[field]):
                    yield f"{name(write)} asked for {field} {value!r}, and changes has {made[field]!r}", write.received


def _alike(asked: Any, made: Any) -> bool:
    """Whether a field of a window is as it was asked for; the command line rounds times."""
    if asked is True:  # after some seconds
        return True
    if isinstance(asked, float):
        return abs(datetime.fromisoformat(made).timestamp() - asked) <= TOLERANCE
    return bool(asked == made)


def _homes(case: Case, write: Write) -> Iterator[int]:
    """Yield the epochs that have to have an acknowledged write that any of them has."""
    has = False
    for epoch, in_time, following in _lives_of(case, write):
        copied = (has and write.received < epoch.kept) or (epoch.lossless and (has or in_time))
        has = copied if following else in_time
        if has:
            yield epoch.number


def _lives_of(case: Case, write: Write) -> Iterator[tuple[Epoch, bool, bool]]:
    """Yield each epoch, whether a write was answered before the next one, and whether it was sent before this one.

    Of those that a write was sent before, only the first can have acknowledged it in time.
    """
    epochs = [life.epoch for life in case.states.lives]
    before = 0
    for epoch, follower in zip(epochs, [*epochs[1:], None], strict=True):
        following = epoch.number > 0 and epoch.end > write.sent
        before += following
        answered = follower is None or write.received < min(follower.kept, follower.begin)
        yield epoch, answered and before <= 1, following


def _foreign(case: Case) -> Found:
    """Yield rows whose reason looks like the id of a write that nobody sent."""
    known = {write.id for write in case.history.writes}
    shapes = set(map(_shape, known))
    for life in case.states.lives:
        for reason in life.places.keys() - known:
            if _shape(reason) in shapes:
                row = life.rows(reason)[0]
                yield (
                    f"the changes of epoch {life.epoch.number} have a write {reason} that nobody sent",
                    row["changed_at"],
                )


def _shape(identifier: str) -> str:
    return re.sub(r"[0-9a-f]+", "0", identifier)


def revoked_never_writes(case: Case) -> Found:
    """Yield writes with a token whose revocation was acknowledged before they were sent."""
    revocations = [write for write in case.history.writes if write.kind == "revoke_token" and _done(write)]
    for write in case.history.writes:
        for revocation in revocations:
            token = revocation.asked["token"]
            if write.token == token and revocation.received < write.sent and not _made_anew(case, revocation, write):
                yield from _written(case, write)


def _done(write: Write) -> bool:
    return write.outcome == "acknowledged"


def _made_anew(case: Case, revocation: Write, write: Write) -> bool:
    """Whether another token of that name may have been made between a revocation and a write."""
    return any(
        made.kind == "create_token" and made.asked["token"] == write.token and made.outcome != "refused"
        for made in case.history.writes
        if made.received > revocation.sent and made.sent < write.received
    )


def _written(case: Case, write: Write) -> Found:
    """Yield a write that should have been refused: by every epoch that can have answered it, or by one that has it."""
    token = write.token or ""
    knew = [life.revokes(token, write.sent) for life in _in_force(case, write)]
    if _done(write) and all(knew):
        yield f"{name(write)} was acknowledged, though its token {token} was revoked before", write.received
        return
    for life in case.states.lives:
        if write.id in life.places and life.revokes(token, write.sent):
            told = f"stands in the changes of epoch {life.epoch.number}, though its token {token} was revoked before"
            yield f"{name(write)} {told}", write.received


def _in_force(case: Case, write: Write) -> Iterator[Life]:
    """Yield the lives that may have been in force while a write was called."""
    lives = case.states.lives
    for life, follower in zip(lives, [*lives[1:], None], strict=True):
        begun = life.epoch.number == 0 or life.epoch.begin <= write.received
        if begun and (follower is None or write.sent <= follower.epoch.end):
            yield life


def lost_with_the_old_database(case: Case) -> int:
    """Count acknowledged writes that an earlier epoch has and the last one has not."""
    *_, last = case.states.lives
    made = (write.id for write in case.history.writes if _done(write))
    return sum(1 for write in made if write not in last.places and case.states.made_by(write) is not None)
