"""`/api/v1/settings`: read from the snapshot, write through the service."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from ..extensions import api
from ..live import live
from ..live.snapshot import settings_document
from ..settings import history, service
from ..settings.schemas import HistoryQuerySchema, RevertSchema, SettingsChangeSchema, SettingsSchema, dump
from .auth import auth, may_read_all
from .exemption import exempt
from .http import Blueprint, answer, expected_revisions, uncached

bp = exempt(Blueprint("settings", __name__, url_prefix="/api/v1/settings", description="System settings"))


@bp.route("")
@bp.response(200, SettingsSchema)
def show() -> Response:
    snapshot = live().require()
    return answer(snapshot.private if may_read_all() else snapshot.public, vary="Authorization")


@bp.route("", methods=["PATCH"])
@auth.login_required(role="settings:write")
@bp.arguments(SettingsChangeSchema)
@bp.response(200, SettingsSchema)
def patch(values: dict[str, Any]) -> Response:
    change = service.change(values, auth.current_user().attribution(), expected=expected_revisions())
    return answer(settings_document(change.after, private=True), vary="Authorization")


@bp.route("/history")
@auth.login_required(role="settings:read")
@bp.arguments(HistoryQuerySchema, location="query")
def show_history(query: dict[str, Any]) -> Response:
    return uncached({"changes": history.page(**query)})


@bp.route("/revert", methods=["POST"])
@auth.login_required(role="settings:write")
@bp.arguments(RevertSchema)
def revert(wanted: dict[str, int]) -> Response:
    """The settings as they are now, and beside them what became of the wish."""
    by, expected = auth.current_user().attribution(), expected_revisions()
    change, gone = service.revert(wanted["revision"], by, expected=expected)
    told = {"to": wanted["revision"], "changed": change.names, "gone": gone}
    etag = settings_document(change.after, private=True).etag
    return uncached({**dump(change.after), "revert": told}, etag=etag)


def init_app(app: Flask) -> None:
    api.register_blueprint(bp)
