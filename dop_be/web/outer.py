"""The outermost layer: it takes one snapshot and one clock reading for each request, and answers `/gate`.

It is plain WSGI below Flask, since a proxy may ask the gate for every request of a platform. Gate, views and pages read
the look from the environ, so that all of a request sees the same state at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from ..errors import StateUnknown
from ..live import Live, live
from ..live.snapshot import Snapshot
from ..maintenance.timeline import Phase

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOK = "dop_be.look"  # where the environ has it
ANNOUNCEMENT = "X-Maintenance-Starts"


@dataclass(slots=True)
class Look:
    """What a request sees: the Unix time, the snapshot and what is in force; None while the database is unknown."""

    now: float
    snapshot: Snapshot | None
    phase: Phase | None
    _live: Live | None

    def wait(self) -> Snapshot | None:
        """Return the snapshot; where there is none yet, start the watcher and wait a little for it, once."""
        if self.snapshot is None and self._live is not None:
            self._live.start()
            self.snapshot, self._live = self._live.snapshot, None
            self.phase = self.snapshot.at(self.now) if self.snapshot else None
        return self.snapshot


def look(environ: WSGIEnvironment) -> Look:
    """Return what the request of this environ sees."""
    found: Look = environ[LOOK]
    return found


def current() -> Snapshot:
    """Return the snapshot of the current request.

    Raises:
        StateUnknown: this process has not read the database yet.
    """
    snapshot = look(request.environ).wait()
    if snapshot is None:
        raise StateUnknown
    return snapshot


def look_at() -> float:
    """Return the Unix time of the current request."""
    return look(request.environ).now


def current_phase() -> Phase:
    """Return what is in force for the current request; raises as `current` does."""
    current()
    phase = look(request.environ).phase
    assert phase is not None
    return phase


class Outer:
    """Puts the look into the environ, and passes the request on to the gate or to Flask."""

    def __init__(self, live: Live, gate: WSGIApplication, inner: WSGIApplication) -> None:
        self._live, self._gate, self._inner = live, gate, inner

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        now, snapshot = self._live.now(), self._live.snapshot
        phase = snapshot.at(now) if snapshot is not None else None
        environ[LOOK] = Look(now, snapshot, phase, self._live)
        if phase is not None and phase.announced:
            start_response = announcing(start_response, phase.announced)
        path = environ["PATH_INFO"]
        if path == "/gate" or (path.startswith("/gate/") and not path.startswith("/gate/bypass/")):
            return self._gate(environ, start_response)
        return self._inner(environ, start_response)


def announcing(start_response: StartResponse, starts_at: str) -> StartResponse:
    """Return a `start_response` that tells of the next window with every answer but a refusal."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        refused = status.startswith(("503", "403"))
        return start_response(status, headers if refused else [*headers, (ANNOUNCEMENT, starts_at)], exc_info)

    return start


def init_app(app: Flask, gate: WSGIApplication) -> None:
    """Wrap the application; whatever wraps it later lies further out and sees requests first."""
    app.wsgi_app = Outer(live(app), gate, app.wsgi_app)  # type: ignore[method-assign]
