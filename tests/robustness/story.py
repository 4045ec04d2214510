"""A small history in which everything goes right, to be made wrong on purpose by test_checker.py.

Two hosts with two workers each go through writes of every kind, a window, a frozen database and a restored backup. All
times are seconds since BEGIN. What a worker answers is reckoned here once more, by simpler rules than dop_be's.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from .record import Epoch, Event, Fault, History, Line, Read, Run, Worker, Write, history

BEGIN = 1_790_000_000.0  # in the middle of a day
WORKERS = (("A", 11), ("A", 12), ("B", 21), ("B", 22))
PLANNED, LATER, AD_HOC, UNSURE = (str(uuid.UUID(int=number)) for number in range(1, 5))
Rows = list[dict[str, Any]]


def at(seconds: float) -> float:
    return BEGIN + seconds


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(at(seconds), UTC).isoformat()


class Story:
    """Tells it, in order: each write changes what the next answers are."""

    def __init__(self) -> None:
        self.events: list[Event] = [Run(1, "two hosts", 53), *(Worker(*worker, at(0)) for worker in WORKERS)]
        self.rows: Rows = []
        self.values: dict[str, Any] = {
            "is_maintain": False,
            "maintenance_mode": "full",
            "maintenance_message": None,
            "limit": 1,
        }
        self.revision = 0
        self.windows: dict[str, tuple[float, float, str]] = {}
        self.row(-100, None, ("insert", "settings", None), by="owner", revision=1, values=dict(self.values))
        self.revision = 1

    def row(self, when: float, reason: str | None, what: tuple[str, str, str | None], **more: Any) -> None:
        """Record a change: `what` is its action, its kind and which of that kind."""
        (action, kind, key), author = what, more.pop("by", "admin")
        sides = {field: {"from": None, "to": value} for field, value in more.pop("to", {}).items()}
        facts = {"revision": None, "values": None, "request_id": reason, "database_user": "app", "source": "api"}
        named = {"id": len(self.rows) + 1, "kind": kind, "key": key, "action": action, "changed_at": at(when)}
        self.rows.append({**facts, **named, "changed_by": author, "reason": reason, "changes": sides, **more})

    def write(self, name: str, kind: str, when: float, *, token: str | None = None, **facts: Any) -> None:
        times: dict[str, Any] = {"sent": at(when), "received": at(facts.pop("received", when + 0.05))}
        told: dict[str, Any] = {"outcome": "acknowledged", "status": 200, **facts}
        self.events.append(Write(name, "client", kind, token or "admin", token=token, **times, **told))

    def settings(self, name: str, when: float, new: dict[str, Any], *, by: str = "admin") -> dict[str, Any]:
        """Change the settings, and return what the writer is told."""
        sides = {field: {"from": self.values[field], "to": value} for field, value in new.items()}
        self.values.update(new)
        self.revision += 1
        facts = {"revision": self.revision, "values": dict(self.values), "changes": sides}
        self.row(when + 0.02, name, ("update", "settings", None), by=by, **facts)
        shown = ("is_maintain", "maintenance_mode", "maintenance_message")
        return {"revision": self.revision, **{field: self.values[field] for field in shown}}

    def patch(self, name: str, when: float, limit: int, *, token: str | None = None, **asked: Any) -> None:
        told = self.settings(name, when, {"limit": limit}, by=token or "admin")
        self.write(name, "patch", when, token=token, asked={"values": {"limit": limit}, **asked}, answer=told)

    def switch(self, name: str, when: float, *, active: bool) -> None:
        told = {"active": active, "revision": self.settings(name, when, {"is_maintain": active})["revision"]}
        self.write(name, "switch", when, asked={"active": active}, answer=told)

    def window(self, name: str, when: float, key: str, begin: float, end: float, **fields: Any) -> None:
        self.windows[key] = begin, end, fields.get("mode", "full")
        changes = {"starts_at": iso(begin), "ends_at": iso(end), "mode": "full", "timezone": "UTC", "ad_hoc": False}
        self.row(when + 0.02, name, ("insert", "window", key), to={**changes, **fields})

    def close(self, name: str, when: float, key: str) -> None:
        del self.windows[key]
        self.row(when + 0.03, name, ("delete", "window", key))

    def token(self, name: str, when: float, token: str, scopes: str) -> None:
        fields = {"scopes": scopes, "digest": "(secret)", "created_by": "admin"}
        self.row(when + 0.02, name, ("insert", "token", token), to=fields)
        self.write(name, "create_token", when, status=201, asked={"token": token})

    def revoke(self, name: str, when: float, token: str) -> None:
        fields = {"revoked_at": iso(when + 0.01), "revoked_by": "admin"}
        self.row(when + 0.02, name, ("update", "token", token), to=fields)
        self.write(name, "revoke_token", when, status=204, asked={"token": token})

    def read(self, host: str, worker: int, question: str, when: float, **facts: Any) -> None:
        """Record the right answer to one question."""
        active, mode, source = self.in_force(when)
        status, answer = 200, {}
        if question == "settings":
            answer = {"revision": self.revision, **self.values}
            del answer["limit"]
        elif question == "maintenance":
            answer = {"active": active, "mode": mode, "message": None, "source": source, "revision": self.revision}
        elif active and not facts.get("bypass") and (mode == "full" or facts.get("method", "GET") == "POST"):
            status, answer = 503, {"code": "maintenance"}
        told = {"status": status, "answer": answer, **facts}
        self.events.append(Read(host, worker, question, at(when), at(when + 0.01), **told))

    def in_force(self, when: float) -> tuple[bool, str, str | None]:
        """Return whether maintenance is active, its mode and its source; no two are at once here."""
        if self.values["is_maintain"]:
            return True, "full", "switch"
        modes = [mode for begin, end, mode in self.windows.values() if begin <= when < end]
        return (True, modes[0], "window") if modes else (False, "full", None)

    def ask(self, *moments: float) -> None:
        """Ask every worker, and through the proxy, everything."""
        for when in moments:
            for place, (host, worker) in enumerate(WORKERS):
                for question in ("settings", "maintenance", "gate"):
                    self.read(host, worker, question, when + place / 100)
                self.read(host, worker, "gate", when + place / 100, method="POST")
            self.read("proxy", 0, "platform", when)


def _before_the_fault(story: Story) -> None:
    story.ask(0.5)
    story.token("w-1", 0.7, "robot", "settings:write")
    story.patch("w-2", 1, 7, token="robot", if_match=1)
    story.ask(1.5)
    story.switch("w-3", 2, active=True)
    story.ask(2.5, 2.7)
    story.switch("w-4", 3, active=False)
    story.window("w-5", 4, PLANNED, 9.3, 13.9, mode="read_only")
    story.write("w-5", "plan", 4, status=201, asked={"starts_at": at(9.3), "ends_at": at(13.9)}, answer={"id": PLANNED})
    story.token("w-6", 5, "guest", "maintenance:bypass")
    story.token("w-7", 5.2, "spare", "settings:read")
    story.ask(5.5)
    story.patch("w-8", 6, 9, token="robot")
    story.read("A", 11, "settings", 6.06, after="w-8")
    story.ask(6.5)
    told = story.settings("w-9", 7, {"limit": 7})
    story.write("w-9", "restore", 7, asked={"revision": 2}, answer=told)
    story.ask(7.5)
    told = story.settings("w-10", 8, {"limit": 9})
    story.write("w-10", "undo", 8, asked={"revision": 6}, answer=told)
    story.ask(8.5)
    story.revoke("w-11", 9, "robot")
    story.ask(9.1)
    story.write("w-12", "patch", 9.5, token="robot", outcome="refused", status=401, asked={"values": {"limit": 3}})
    facts: dict[str, Any] = {"asked": {"if_match": 3, "values": {"limit": 3}}, "answer": {"etag_revision": 7}}
    story.write("w-13", "patch", 9.7, outcome="refused", status=412, **facts)
    story.ask(10.5, 11)
    story.read("B", 21, "gate", 11.2, method="POST", bypass="guest")
    story.ask(12.5)


def _with_the_frozen_database(story: Story) -> None:
    story.window("w-14", 13, LATER, 100, 200)
    story.write("w-14", "plan", 13, status=201, asked={"starts_at": at(100), "ends_at": at(200)}, answer={"id": LATER})
    story.close("w-15", 14, LATER)
    for name, when in (("w-15", 14), ("w-16", 14.8)):  # the second one finds it gone
        story.write(name, "cancel", when, status=204, asked={"window": LATER})
    story.window("w-17", 15.2, AD_HOC, 15.21, 19, ad_hoc=True)
    story.write(
        "w-17", "switch", 15.2, asked={"active": True, "ends_at": at(19)}, answer={"active": True, "revision": 7}
    )
    story.ask(16.5, 16.8)
    story.close("w-18", 17, AD_HOC)  # in one transaction with the switch that takes its place
    story.switch("w-18", 17, active=True)
    story.ask(17.5)
    story.switch("w-19", 18, active=False)
    story.ask(18.5)
    story.events.append(Fault("frozen", "database", at(20), at(22)))
    story.ask(21)
    story.window("w-20", 20.5, UNSURE, 300, 400)
    story.write("w-20", "plan", 20.5, received=22, outcome="unknown", status=503)
    story.ask(26)
    story.patch("w-21", 30, 11)
    story.patch("w-22", 30.1, 12)
    story.ask(30.5, 34)


def _after_the_restored_backup(story: Story) -> None:
    kept, backup = copy.deepcopy(story.rows), (story.revision, dict(story.values))
    story.patch("w-23", 36, 13)  # lost
    story.ask(36.5)
    story.events.append(Fault("restored", "database", at(39.5), at(41.5)))
    story.events.append(Epoch(0, "the first", at(-100), at(-100), at(-100), lossless=True, changes=story.rows))
    story.events.append(Epoch(1, "restored", at(40), at(41), at(35), lossless=False, changes=kept))
    story.rows, (story.revision, story.values) = kept, backup
    event = "the newest change of the database is 20, and it was 21 before: what came between is lost"
    story.events += [Line(host, at(41.8), "error", event) for host in ("A", "B")]
    story.ask(42, 44)
    story.patch("w-24", 45, 14)
    story.ask(46, 49)
    story.patch("w-25", 50, 15)
    for host, worker in WORKERS:
        for question in ("settings", "maintenance"):
            story.read(host, worker, question, 52, at_the_end=True)


@cache
def _told() -> History:
    story = Story()
    parts: tuple[Callable[[Story], None], ...] = (
        _before_the_fault,
        _with_the_frozen_database,
        _after_the_restored_backup,
    )
    for part in parts:
        part(story)
    return history(story.events)


def right() -> History:
    """Return a copy of the whole history."""
    return copy.deepcopy(_told())
