"""What the service is measured against, and with: each a WSGI application that gunicorn loads by name."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify
from sqlalchemy import event, text

from config import Config
from dop_be import create_app, database
from dop_be.extensions import db
from dop_be.live import Live

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

RECORD = struct.Struct("=cIqq")  # what happened, in which process, the version, CLOCK_MONOTONIC in nanoseconds


class NoState:
    """Stands where gunicorn.conf.py starts and stops the watcher, for applications that have none."""

    snapshot = None

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Raw:
    """The least that a WSGI server can call; it answers what an open `/gate` does."""

    extensions = {"live": NoState()}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "0"), ("Cache-Control", "no-store")])
        return []


def bare() -> Flask:
    """Return a Flask application with one JSON view, as its documentation begins with."""
    app = Flask("bare")
    app.extensions["live"] = NoState()

    app.add_url_rule("/livez", view_func=view)
    app.add_url_rule("/view", endpoint="again", view_func=view)
    return app


def gated() -> Flask:
    """Return the service with that view of its own, which its gate checks."""
    app = create_app(Config.from_env())
    app.add_url_rule("/view", view_func=view)
    return app


def view() -> Response:
    return jsonify(active=False, mode="full", message=None)


def querying() -> Flask:
    """Return the same view, with the maintenance flag queried for in `before_request`."""
    app = bare()
    app.config["SQLALCHEMY_DATABASE_URI"] = Config.from_env().SQLALCHEMY_DATABASE_URI
    database.init_app(app)

    @app.before_request
    def check() -> tuple[str, int] | None:
        return ("maintenance", 503) if db.session.scalar(text("SELECT is_maintain FROM system_settings")) else None

    return app


def probed() -> Flask:
    """Return the service, writing to PROBE_FILE when each worker swaps its snapshot and when it begins a COMMIT.

    The worker says so itself: asking it over HTTP would take the very cores that the workers reload on. One write of
    21 bytes to memory, after the time was taken, costs about a microsecond, and CLOCK_MONOTONIC is one clock for all
    processes of a machine.
    """
    app = create_app(Config.from_env())
    note = recorder(Path(os.environ["PROBE_FILE"]))

    class ProbedLive(Live):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "snapshot":
                note(b"S", value.version)

    app.extensions["live"].__class__ = ProbedLive
    with app.app_context():
        event.listen(db.engine, "commit", lambda _connection: note(b"C", 0))
    return app


def recorder(path: Path) -> Callable[[bytes, int], None]:
    """Append a RECORD, whole, whichever processes write at once."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: bytes, version: int) -> None:
        now = time.monotonic_ns()
        os.write(descriptor, RECORD.pack(what, os.getpid(), version, now))

    return note


raw = Raw()
