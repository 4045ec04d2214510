"""`/api/v1/maintenance`: what is in force, the switch, and the planned windows."""

from __future__ import annotations

import json
import uuid
from typing import Any

from flask import Flask, Response, url_for

from ..errors import NotFound
from ..extensions import api
from ..live import live
from ..live.snapshot import Document, document
from ..maintenance import service
from ..maintenance.schemas import (
    MaintenanceSchema,
    SwitchSchema,
    WindowSchema,
    WindowsSchema,
    dump_occurrence,
    dump_window,
)
from .auth import auth
from .exemption import exempt
from .http import Blueprint, answer

bp = exempt(Blueprint("maintenance", __name__, url_prefix="/api/v1/maintenance", description="Maintenance"))


@bp.route("")
@bp.response(200, MaintenanceSchema)
def show() -> Response:
    return answer(live().require().phase.document)


@bp.route("", methods=["PUT"])
@auth.login_required(role="maintenance:write")
@bp.arguments(SwitchSchema)
@bp.response(200, MaintenanceSchema)
def switch(wanted: dict[str, Any]) -> Response:
    return answer(_document(service.switch(auth.current_user().attribution(), **wanted)))


@bp.route("/windows")
@bp.response(200, WindowsSchema)
def windows() -> Response:
    snapshot = live().require()
    return answer(document({"windows": [dump_window(window) for window in snapshot.windows]}, snapshot.revision))


@bp.route("/windows", methods=["POST"])
@auth.login_required(role="maintenance:write")
@bp.arguments(WindowSchema)
@bp.response(201, WindowSchema)
def schedule(planned: dict[str, Any]) -> Response:
    window = service.schedule(auth.current_user().attribution(), **planned)
    response = answer(document(dump_window(window), live().require().revision))
    response.status_code = 201
    response.location = url_for(".window", identifier=window.id)
    return response


@bp.route("/windows/<uuid:identifier>")
@bp.response(200, WindowSchema)
def window(identifier: uuid.UUID) -> Response:
    snapshot = live().require()
    for known in snapshot.windows:
        if known.id == identifier:
            return answer(document(dump_window(known), snapshot.revision))
    raise NotFound("There is no such window.")


@bp.route("/windows/<uuid:identifier>", methods=["DELETE"])
@auth.login_required(role="maintenance:write")
@bp.response(204)
def cancel(identifier: uuid.UUID) -> None:
    service.cancel(auth.current_user().attribution(), identifier)


def _document(outcome: service.Outcome) -> Document:
    """The state as GET shows it, under GET's ETag, and which open windows were ended, if any were."""
    state = outcome.phase.document
    if not outcome.ended:
        return state
    ended = [dump_occurrence(occurrence) for occurrence in outcome.ended]
    body = json.dumps({**json.loads(state.body), "ended": ended}, separators=(",", ":"))
    return Document(body.encode() + b"\n", state.etag)


def init_app(app: Flask) -> None:
    api.register_blueprint(bp)
