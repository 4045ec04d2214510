"""Health: `/livez` says that the process lives, `/readyz` whether it can serve, and why not."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flask import Blueprint, Config, Flask, Response, current_app, request

from ..documents import PROBLEM, encode, problem
from ..errors import DomainError
from ..failures import explain
from ..live import Status, live
from ..live.clock import differing
from ..live.migrated import UPGRADE, compare
from ..live.server import Server
from ..live.snapshot import Snapshot
from ..sqlite import lacks_file
from ..web import unknown
from ..web.auth import may
from ..web.exemption import exempt
from ..web.outer import look

bp = exempt(Blueprint("health", __name__))
logger = logging.getLogger(__name__)
NEVER_REACHED = "the database was never reached, and there is no last state"
STALE_SECONDS = 1.0  # by which a replica may be behind its primary before that is worth a note
FROM_FILE = "the state comes from STATE_FILE: since the start the database has not given one"
NO_FILE = f"the SQLite file, which the log names, does not exist: {UPGRADE}, or correct DATABASE_URL"


@bp.get("/livez")
def livez() -> Response:
    return _told({"status": "alive"})


@bp.get("/readyz")
def readyz() -> Response:
    snapshot = look(request.environ).wait()
    status = live().status
    faults, notes = findings(status, snapshot, current_app.config)
    if (unkept := live().unkept) is not None:
        notes.append(f"the last state {unkept}; a worker that starts without the database knows none, or an old one")
    notes += live().lineage.notes
    notes += unknown.notes(snapshot.components if snapshot else ())
    phase = look(request.environ).phase
    if phase is not None and phase.announced:
        notes.append(f"a maintenance is announced for {phase.announced}")
    facts = {"notes": notes, **measures(status, snapshot)}
    with suppress(DomainError):  # a health check answers, whatever token it is sent
        if may("settings:read"):
            facts |= database(live().server, status)
    if faults:
        body = problem(503, "not_ready", "; ".join(faults) + ".", **facts)
        return Response(body, 503, {"Cache-Control": "no-store"}, content_type=PROBLEM)
    return _told({"ready": True, **facts})


def _told(body: Mapping[str, Any]) -> Response:
    return Response(encode(body), headers={"Cache-Control": "no-store"}, content_type="application/json")


def measures(status: Status, snapshot: Snapshot | None) -> dict[str, Any]:
    """Return how old the state is that the request is answered from, in seconds, which it is, and what its clock is."""
    confirmed_at = status.confirmed_at
    age = None if confirmed_at is None else round(time.monotonic() - confirmed_at, 3)
    version = snapshot.version if snapshot else None
    return {
        "source": status.source,
        "state_age": age,
        "version": version,
        "alembic_revision": status.alembic_revision,
        "clock_offset": status.clock_offset,
    }


def findings(status: Status, snapshot: Snapshot | None, config: Config) -> tuple[list[str], list[str]]:
    """Return what keeps this process from serving, and what is only worth a note, as sentences without a full stop."""
    faults, notes = [], []
    if status.confirmed_at is None:
        return [_never(status, config)], []
    if status.source == "last_state":
        notes.append(FROM_FILE)
    if status.error:
        notes.append(f"{_clause(status.error)}; the last known state is served")
    if (status.lag or 0.0) > STALE_SECONDS:
        notes.append(f"the database is a replica, {status.lag:.0f} s behind its primary")
    if difference := differing(status.clock_offset or 0.0):
        notes.append(difference)
    fault, note = compare(status.alembic_revision, config["MIGRATIONS"])
    faults += fault
    notes += note
    if not status.complete and not faults and not (status.source == "last_state" and status.error):
        missing = _clause(status.fault) if status.fault else "the row of system_settings is missing"
        (notes if snapshot else faults).append(missing)
    return faults, notes


def _never(status: Status, config: Config) -> str:
    """Say why no state was ever known."""
    if lacks_file(config["SQLALCHEMY_DATABASE_URI"]):
        return NO_FILE
    return f"{NEVER_REACHED}: {_clause(status.error)}" if status.error else NEVER_REACHED


def _clause(error: BaseException) -> str:
    """Return what an error means, as a part of a sentence."""
    said = explain(error)
    return said[0].lower() + said[1:].removesuffix(".")


def database(server: Server | None, status: Status) -> dict[str, Any]:
    """Return which server the state is from, for those who may know."""
    if server is None:
        return {}
    timeline = server.identity.timeline if server.identity else None
    facts = {"address": server.address, "role": server.role, "timeline": timeline}
    return {"database": {**facts, "lag_seconds": round(status.lag or 0.0, 3)}}


def init_app(app: Flask) -> None:
    """Serve the checks, and log a database of another release."""
    app.register_blueprint(bp)

    def report(before: Snapshot | None, after: Snapshot) -> None:
        """Log it when the database is, or came to be, at another Alembic revision than this release."""
        found = after.mark.alembic_revision
        if before is not None and before.mark.alembic_revision == found:
            return
        faults, notes = compare(found, app.config["MIGRATIONS"])
        for line in faults + notes:
            logger.warning("%s", line)

    live(app).subscribe(report)
