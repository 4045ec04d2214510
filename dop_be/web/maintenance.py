"""`/api/v1/maintenance`: what is in force, the switch, and the planned windows."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

from flask import Response, url_for

from ..documents import Document, document, encode
from ..errors import NotFound
from ..maintenance import service
from ..maintenance import windows as planning
from ..maintenance.schedule import Window
from ..maintenance.schemas import (
    MaintenanceSchema,
    SwitchSchema,
    WindowSchema,
    WindowsSchema,
    dump_occurrence,
    dump_window,
)
from .auth import author, require
from .exemption import exempt
from .http import Blueprint, answer, expected_tags, preconditions
from .outer import current, current_phase

bp = exempt(Blueprint("maintenance", __name__, url_prefix="/api/v1/maintenance", description="Maintenance"))


@bp.route("")
@bp.response(200, MaintenanceSchema)
def show() -> Response:
    """Show what is in force, and what comes next."""
    return answer(current_phase().document)


@bp.route("", methods=["PUT"])
@require("maintenance:write")
@bp.arguments(SwitchSchema)
@bp.response(200, MaintenanceSchema)
def switch(wanted: dict[str, Any]) -> Response:
    """Turn maintenance on, until it is turned off or until a time, or off."""
    return answer(switched(service.switch(author(), expected=expected_tags(), **wanted)))


@bp.route("/windows")
@bp.response(200, WindowsSchema)
def windows() -> Response:
    """Show the planned windows."""
    return answer(current().planned)


@bp.route("/windows", methods=["POST"])
@require("maintenance:write")
@bp.arguments(WindowSchema)
@bp.response(201, WindowSchema)
def schedule(planned: dict[str, Any]) -> Response:
    """Plan a window."""
    window, _ = service.schedule(author(), **planned)
    return _stored(window, new=True)


@bp.route("/windows/<uuid:identifier>")
@bp.response(200, WindowSchema)
def window(identifier: uuid.UUID) -> Response:
    """Show one window."""
    for known in current().windows:
        if known.id == identifier:
            return answer(document(dump_window(known)))
    raise NotFound(f"There is no window {identifier}.")


@bp.route("/windows/<uuid:identifier>", methods=["PUT"])
@require("maintenance:write")
@bp.arguments(WindowSchema)
@bp.response(200, WindowSchema)
@bp.alt_response(201, schema=WindowSchema)
def put(planned: dict[str, Any], identifier: uuid.UUID) -> Response:
    """Plan the window of this id, or replace it; an open one is changed without the gate opening."""
    expected, unwanted = preconditions()
    window, new = planning.put(author(), identifier, expected=expected, unwanted=unwanted, **planned)
    return _stored(window, new=new)


@bp.route("/windows/<uuid:identifier>", methods=["DELETE"])
@require("maintenance:write")
@bp.response(204)
def cancel(identifier: uuid.UUID) -> None:
    """Cancel a window, and end it where it is open; one that is gone already is no error."""
    with suppress(NotFound):
        service.cancel(author(), identifier)


def _stored(window: Window, *, new: bool) -> Response:
    """Return a window that was written; where it is new, say where it is."""
    response = answer(document(dump_window(window)))
    if new:
        response.status_code = 201
        response.location = url_for(".window", identifier=window.id)
    return response


def switched(outcome: service.Outcome) -> Document:
    """Return the state as GET shows it, under GET's ETag, and which open windows were ended, if any were."""
    state = outcome.phase.document
    if not outcome.ended:
        return state
    ended = [dump_occurrence(occurrence) for occurrence in outcome.ended]
    return Document(encode({**json.loads(state.body), "ended": ended}), state.etag)
