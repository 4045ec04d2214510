"""Those who ask: one for each worker, over connections that are known to be its own, and one at the proxy."""

from __future__ import annotations

import json
import random
import threading
from http.client import HTTPConnection, HTTPException
from typing import Any

from ..conftest import ADMIN
from ..e2e.workers import owner
from .clients import Stage
from .hosts import WORKERS, Host
from .record import Read, Recorder, Worker, now
from .visitor import MAINTENANCE, SETTINGS

PAUSE = 0.03  # seconds between two questions
AGAIN = 0.1  # seconds until it tries another connection
LIMIT = 10.0  # seconds after which an asker gives up
SHOWN = (
    "revision",
    "release",
    "is_maintain",
    "maintenance_mode",
    "maintenance_message",
    "active",
    "mode",
    "message",
    "source",
    "code",
)
KINDS = ("settings", "settings", "maintenance", "gate", "gate", "bypass")
METHODS = ("GET", "POST")


class Asker(threading.Thread):
    """Puts questions until it is stopped."""

    def __init__(self, name: str, stage: Stage) -> None:
        super().__init__(name=name, daemon=True)
        self._known, self._record, self._ended = stage.known, stage.record, threading.Event()
        self._dice = random.Random(f"{stage.seed} {name}")

    def stop(self) -> None:
        self._ended.set()

    def _bypass(self, kind: str) -> tuple[str | None, dict[str, str]]:
        """A bypass that there was, newer ones more often, with its header; none for other kinds of question."""
        known = self._known.bypasses
        if kind != "bypass" or not known:
            return None, {}
        name, text = known[int(self._dice.random() ** 0.5 * len(known))]
        return name, {"X-Maintenance-Bypass": text}


class Reader(Asker):
    """Asks one worker of a host; `others` are the workers that other readers ask."""

    def __init__(self, host: Host, number: int, taken: Taken, stage: Stage) -> None:
        super().__init__(f"{host.name}{number}", stage)
        self._host, self._taken = host, taken

    def run(self) -> None:
        while not self._ended.is_set():
            if not self._follow():
                self._ended.wait(AGAIN)

    def _follow(self) -> bool:
        """Ask one worker until that fails; whether there was one that nobody else asks."""
        connection = HTTPConnection("127.0.0.1", self._host.port, timeout=LIMIT)
        worker = 0
        try:
            worker = self._connect(connection)
            if not self._taken.take(worker):
                return False
            self._record(Worker(self._host.name, worker, now()))
            while not self._ended.wait(PAUSE):
                self._ask(connection, worker)
        except (OSError, HTTPException, RuntimeError, ValueError):
            pass
        finally:
            self._taken.leave(worker, self)
            connection.close()
        return True

    def _connect(self, connection: HTTPConnection) -> int:
        connection.request("GET", "/livez")
        connection.getresponse().read()
        return owner(self._host.port, int(connection.sock.getsockname()[1]), self._host.workers())

    def _ask(self, connection: HTTPConnection, worker: int) -> None:
        kind, method = self._dice.choice(KINDS), self._dice.choice(METHODS)
        bypass, headers = self._bypass(kind)
        if self._dice.random() < 0.5:
            headers |= ADMIN  # what it shows more counts for nothing here
        ask(connection, self._record, self._host.name, worker, kind, method=method, bypass=bypass, headers=headers)


class Taken:
    """Which workers are asked, and by whom."""

    def __init__(self) -> None:
        self._lock, self._by = threading.Lock(), dict[int, Any]()

    def take(self, worker: int) -> bool:
        with self._lock:
            return self._by.setdefault(worker, threading.current_thread()) is threading.current_thread()

    def leave(self, worker: int, reader: Any) -> None:
        with self._lock:
            if self._by.get(worker) is reader:
                del self._by[worker]


def ask(
    connection: HTTPConnection,
    record: Recorder,
    host: str,
    worker: int,
    kind: str,
    *,
    method: str = "GET",
    bypass: str | None = None,
    headers: dict[str, str] | None = None,
    at_the_end: bool = False,
) -> None:
    """Put one question over a kept connection, and record the answer; what goes wrong is raised again."""
    question = "gate" if kind == "bypass" else kind
    path = {"settings": SETTINGS, "maintenance": MAINTENANCE}.get(question, "/gate")
    sent, status, answer = now(), None, {}
    try:
        connection.request("GET", path, headers={"X-Forwarded-Method": method, **(headers or {})})
        got = connection.getresponse()
        status, answer = got.status, shown(got.read())
    finally:
        method = method if question == "gate" else "GET"
        record(Read(host, worker, question, sent, now(), status, answer, method, bypass, None, at_the_end))


def shown(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return {name: told[name] for name in SHOWN if name in told} if isinstance(told, dict) else {}


class Guest(Asker):
    """Asks for a page of the platform, through the proxy."""

    def __init__(self, stage: Stage) -> None:
        super().__init__("guest", stage)
        self._system = stage.system

    def run(self) -> None:
        while not self._ended.wait(PAUSE):
            self._ask()

    def _ask(self) -> None:
        assert self._system.edge is not None
        method, kind = self._dice.choice(METHODS), self._dice.choice(("page", "page", "bypass"))
        bypass, headers = self._bypass(kind)
        sent, status, answer = now(), None, {}
        try:
            got = self._system.edge.ask(method, "/page", headers.items())
            status, answer = got.status, shown(got.body)
        except (OSError, HTTPException):
            pass
        self._record(Read("proxy", 0, "platform", sent, now(), status, answer, method, bypass))


def readers(stage: Stage) -> list[Asker]:
    """One for each worker, and one at the proxy."""
    found: list[Asker] = [Guest(stage)]
    for host in stage.system.hosts.values():
        taken = Taken()
        found += [Reader(host, number, taken, stage) for number in range(WORKERS)]
    return found
