"""`/api/v1/components`: the parts of the platform that can be closed alone."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from ..documents import document
from ..errors import NotFound
from ..maintenance import components as service
from ..maintenance.schemas import ComponentMaintenanceSchema, ComponentSchema, ComponentsSchema, SwitchSchema
from ..maintenance.service import switch as switch_maintenance
from ..maintenance.timeline import title
from .auth import author, require
from .exemption import exempt
from .http import Blueprint, answer, expected_tags
from .maintenance import switched
from .outer import current, look_at

bp = exempt(Blueprint("components", __name__, url_prefix="/api/v1/components", description="Components"))


@bp.route("")
@bp.response(200, ComponentsSchema)
def components() -> Response:
    """Show every component, each with what is in force for it."""
    return answer(current().timeline.listed(look_at()))


@bp.route("/<name>", methods=["PUT"])
@require("components:write")
@bp.arguments(ComponentSchema)
@bp.response(200, ComponentSchema)
def put(wanted: dict[str, Any], name: str) -> Response:
    """Make a component, or give it another title."""
    row, created = service.put(author(), name, **wanted)
    response = answer(document({"name": row["name"], "title": title(row)}))
    if created:
        response.status_code = 201
        response.location = url_for(".show", name=name)
    return response


@bp.route("/<name>", methods=["DELETE"])
@require("components:write")
@bp.response(204)
def remove(name: str) -> None:
    """Remove a component with its windows; one that is gone already is no error."""
    service.remove(author(), name)


@bp.route("/<name>/maintenance")
@bp.response(200, ComponentMaintenanceSchema)
def show(name: str) -> Response:
    """Show what is in force for a component, and what comes next."""
    snapshot = current()
    if name not in snapshot.components:
        raise NotFound(f"There is no component {name[:70]!r}.")
    return answer(snapshot.timeline.of(name, look_at()).document)


@bp.route("/<name>/maintenance", methods=["PUT"])
@require("maintenance:write")
@bp.arguments(SwitchSchema)
@bp.response(200, ComponentMaintenanceSchema)
def switch(wanted: dict[str, Any], name: str) -> Response:
    """Turn the maintenance of a component on, until it is turned off or until a time, or off."""
    return answer(switched(switch_maintenance(author(), expected=expected_tags(), component=name, **wanted)))
