"""What the check costs a request, and what the reads cost, without a server around: calls of the WSGI application."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

from .apps import bare, gated
from .figures import percentile
from .report import Table, microseconds
from .servers import environment, new_database, postgresql

CALLS = 2_000  # of each subject and round
WITH, WITHOUT = "a view of the service", "the same with the check removed"

Call = Callable[[], None]


def measure(rounds: int) -> Iterator[Table]:
    with postgresql() as cluster:
        os.environ.update(environment(new_database(cluster, "in_process")))
        app = gated()
        if not app.extensions["live"].refresh():  # and no watcher, which would use the core too
            raise RuntimeError("the database has no state")
        paths = ("/api/v1/settings", "/api/v1/maintenance", "/gate")
        reads = {f"GET {path}": call(app, path) for path in paths}
        taken = in_turn({"bare Flask JSON view": call(bare(), "/view"), **reads}, CALLS * rounds)
        taken |= in_turn({WITH: call(app, "/view"), WITHOUT: call(app, "/view")}, CALLS * rounds, gate_hooks(app))
        app.extensions["live"].stop()
    figures = {name: (median(values), percentile(values, 10)) for name, values in taken.items()}
    rows = [[name, *map(microseconds, pair), ""] for name, pair in figures.items()]
    added = (ours - theirs for ours, theirs in zip(figures[WITH], figures[WITHOUT], strict=True))
    rows.append(["**what the check adds**", *(f"{seconds * 1e6:.2f} µs" for seconds in added), "1 µs"])
    note = f"One process, one thread, {CALLS * rounds:,} calls of each in turn, each timed by itself."
    yield Table("In process, per call", ["", "median", "p10", "at most"], rows, note)


def gate_hooks(app: Flask) -> list[Any]:
    """Return the list that holds the gate's check, and nothing else."""
    hooks: list[Any] = app.before_request_funcs[None]
    if hooks != [app.extensions["gate"].check]:
        raise RuntimeError(f"more than the gate's check runs before each request: {hooks}")
    return hooks


def call(app: Flask, path: str) -> Call:
    """Return a call of the application as a server makes it, with an environment of its own each time."""
    request = EnvironBuilder(path).get_environ()

    def start(status: str, headers: object, error: object = None) -> Callable[[bytes], object]:
        if not status.startswith("200"):
            raise RuntimeError(f"{path} answers {status}")
        return len

    def run() -> None:
        answer = app.wsgi_app(request.copy(), start)
        list(answer)
        getattr(answer, "close", list)()

    return run


def in_turn(calls: dict[str, Call], turns: int, hooks: list[Any] | None = None) -> dict[str, list[float]]:
    """Seconds of each call of each subject; `hooks` are taken away for WITHOUT.

    They are taken off the very same application, since two of them differ by more, in the processor's caches.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    hooks = hooks if hooks is not None else []
    kept = hooks[:]
    for _ in range(turns):
        for name, run in calls.items():
            hooks[:] = [] if name == WITHOUT else kept
            began = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - began)
    hooks[:] = kept
    return taken
