"""Ways to break a history, one event at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .checker import check
from .record import Fault, History, Read, Worker, Write
from .story import UNSURE, WORKERS, at, right

Break = Callable[[History], None]
OFF = {"active": False, "mode": "full", "message": None, "source": None}
REFUSED: dict[str, Any] = {"status": 503, "answer": {"code": "maintenance"}}
UNKNOWN: dict[str, Any] = {"status": 503, "answer": {"code": "state_unknown"}}
PASSED: dict[str, Any] = {"status": 200, "answer": {}}
RESTORED = Fault("restored", "database", at(39.5), at(41.5))


def write(history: History, identifier: str) -> Write:
    return next(known for known in history.writes if known.id == identifier)


def change_write(identifier: str, **fields: Any) -> Break:
    """Replace fields of a write; those of `asked` and `answer` one by one."""

    def wrong(history: History) -> None:
        known = write(history, identifier)
        merged: dict[str, Any] = {
            name: {**getattr(known, name), **fields[name]} for name in ("asked", "answer") if name in fields
        }
        history.writes[history.writes.index(known)] = replace(known, **{**fields, **merged})

    return wrong


def add_write(kind: str, when: float, **fields: Any) -> Break:
    """Add an acknowledged write that no changes have."""
    told: dict[str, Any] = {"outcome": "acknowledged", "status": 200, **fields}
    added = Write(told.pop("id", "w-99"), "client", kind, "admin", at(when), at(when + 0.05), **told)
    return lambda history: history.writes.append(added)


def forget_write(identifier: str) -> Break:
    return lambda history: history.writes.remove(write(history, identifier))


def change_rows(identifier: str, change: Callable[[dict[str, Any]], list[dict[str, Any]]], *epochs: int) -> Break:
    """Put others in the place of the rows of a write, in all epochs or these."""

    def wrong(history: History) -> None:
        for place, epoch in enumerate(history.epochs):
            if epoch.number in (epochs or (0, 1)):
                rows = [new for row in epoch.changes for new in (change(row) if row["reason"] == identifier else [row])]
                history.epochs[place] = replace(epoch, changes=rows)

    return wrong


def remove_rows(identifier: str, *epochs: int) -> Break:
    return change_rows(identifier, lambda _row: [], *epochs)


def double_rows(identifier: str) -> Break:
    return change_rows(identifier, lambda row: [row, dict(row)])


def set_in_rows(identifier: str, **fields: Any) -> Break:
    return change_rows(identifier, lambda row: [{**row, **fields}])


def add_row(after: str, reason: str, *epochs: int, **fields: Any) -> Break:
    """Add a row about a window that is far away behind the row of a write."""
    facts: dict[str, Any] = {
        "kind": "window",
        "key": UNSURE,
        "action": "delete",
        "revision": None,
        "values": None,
        "changes": {},
    }
    new = {**facts, "changed_by": "admin", "reason": reason, "request_id": reason, **fields}
    return change_rows(after, lambda row: [row, {**row, **new}], *epochs)


def change_read(worker: int, question: str, when: float, *, method: str = "GET", **fields: Any) -> Break:
    """Replace fields of the answer that a worker gave at or after a moment; those of `answer` one by one."""

    def wrong(history: History) -> None:
        place, known = next(_reads(history, worker, question, when, method))
        merged = {**known.answer, **fields["answer"]} if fields.get("answer") else {}
        history.reads[place] = replace(known, **fields | ({"answer": merged} if "answer" in fields else {}))

    return wrong


def _reads(history: History, worker: int, question: str, when: float, method: str) -> Iterator[tuple[int, Read]]:
    for place, read in enumerate(history.reads):
        if (read.worker, read.question, read.method) == (worker, question, method) and read.sent >= at(when):
            yield place, read


def forget_reads(begin: float, end: float, *workers: int) -> Break:
    """Forget what workers answered between two moments."""

    def wrong(history: History) -> None:
        history.reads = [r for r in history.reads if not (r.worker in workers and at(begin) < r.sent < at(end))]

    return wrong


def add_read(worker: int, question: str, when: float, **fields: Any) -> Break:
    host = dict(zip((11, 12, 21, 22, 31, 0), "AABBA-", strict=True))[worker].replace("-", "proxy")
    return lambda history: history.reads.append(Read(host, worker, question, at(when), at(when + 0.01), **fields))


def settings(revision: int, *, on: bool = False) -> dict[str, Any]:
    shown = {"revision": revision, "is_maintain": on, "maintenance_mode": "full", "maintenance_message": None}
    return {"status": 200, "answer": shown}


def add_fault(scope: str, begin: float, end: float) -> Break:
    return lambda history: history.faults.append(Fault("for a test", scope, at(begin), at(end)))


def all_of(*changes: Break) -> Break:
    def wrong(history: History) -> None:
        for change in changes:
            change(history)

    return wrong


def change_epoch(number: int, **fields: Any) -> Break:
    def wrong(history: History) -> None:
        history.epochs[number] = replace(history.epochs[number], **fields)

    return wrong


def change_lines(**fields: Any) -> Break:
    def wrong(history: History) -> None:
        history.lines = [replace(line, **fields) for line in history.lines]

    return wrong


def skip_a_revision(history: History) -> None:
    """Raise the last revision by one, wherever it stands."""
    set_in_rows("w-25", revision=14)(history)
    change_write("w-25", answer={"revision": 14})(history)
    for worker, question in ((worker, question) for _, worker in WORKERS for question in ("settings", "maintenance")):
        change_read(worker, question, 51, answer={"revision": 14})(history)


def broken(wrong: Break) -> tuple[set[str], str]:
    """Return the properties that a history made wrong contradicts, and all that is said of them."""
    history = right()
    wrong(history)
    found = check(history)
    return {violation.property for violation in found}, "\n".join(violation.told for violation in found)


def start(history: History) -> None:
    history.workers.append(Worker("A", 31, at(32)))
