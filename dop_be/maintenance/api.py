"""`/api/v1/maintenance`: what is in force, and the switch."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from ..access.auth import auth
from ..extensions import api
from ..http import Blueprint, answer
from ..live import live
from ..live.snapshot import maintenance_document
from . import service
from .exemption import exempt
from .policy import in_force
from .schemas import MaintenanceSchema, SwitchSchema

bp = exempt(Blueprint("maintenance", __name__, url_prefix="/api/v1/maintenance", description="Maintenance"))


@bp.route("")
@bp.response(200, MaintenanceSchema)
def show() -> Response:
    return answer(live().require().maintenance_document)


@bp.route("", methods=["PUT"])
@auth.login_required(role="maintenance:write")
@bp.arguments(SwitchSchema)
@bp.response(200, MaintenanceSchema)
def switch(wanted: dict[str, Any]) -> Response:
    change = service.switch(auth.current_user().attribution(), **wanted)
    return answer(maintenance_document(in_force(change.after)))


def init_app(app: Flask) -> None:
    api.register_blueprint(bp)
