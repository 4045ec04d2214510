"""`/api/v1/settings`: read from the snapshot, write through the service."""

from __future__ import annotations

from typing import Any

from flask import Response

from ..settings import service
from ..settings.schemas import RevisionSchema, SettingsChangeSchema, SettingsSchema, dump, settings_document
from .auth import author, may, require
from .exemption import exempt
from .http import Blueprint, answer, expected_revisions, uncached
from .outer import current

bp = exempt(Blueprint("settings", __name__, url_prefix="/api/v1/settings", description="System settings"))


@bp.route("")
@bp.response(200, SettingsSchema)
def show() -> Response:
    """Show the settings: the public ones to anyone, all of them with settings:read."""
    snapshot = current()
    return answer(snapshot.private if may("settings:read") else snapshot.public, vary="Authorization")


@bp.route("", methods=["PATCH"])
@require("settings:write")
@bp.arguments(SettingsChangeSchema)
@bp.response(200, SettingsSchema)
def patch(values: dict[str, Any]) -> Response:
    """Change the settings that are sent, and no others."""
    outcome = service.change(values, author(), expected=expected_revisions())
    return answer(settings_document(outcome.after, private=True), vary="Authorization")


@bp.route("/restore", methods=["POST"])
@require("settings:write")
@bp.arguments(RevisionSchema)
def restore(wanted: dict[str, int]) -> Response:
    """Make a new revision with the values of an old one; the switch stays as it is."""
    outcome = service.restore(wanted["revision"], author(), expected=expected_revisions())
    return _result("restored", wanted["revision"], outcome)


@bp.route("/undo", methods=["POST"])
@require("settings:write")
@bp.arguments(RevisionSchema)
def undo(wanted: dict[str, int]) -> Response:
    """Make a new revision without what one revision changed; the switch stays as it is."""
    outcome = service.undo(wanted["revision"], author(), expected=expected_revisions())
    return _result("undone", wanted["revision"], outcome)


def _result(name: str, revision: int, outcome: service.Outcome) -> Response:
    """Return the settings as they are now, and beside them what was done."""
    done = {"revision": revision, "changed": outcome.changed, "gone": outcome.gone}
    return uncached({**dump(outcome.after), name: done}, etag=settings_document(outcome.after, private=True).etag)
