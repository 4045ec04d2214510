"""`/api/v1/history`: who changed what."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from marshmallow.validate import Length, OneOf, Range

from ..entries import page
from ..fields import StrictSchema, StrictString, WrittenInteger
from ..history.model import KINDS
from .auth import require
from .exemption import exempt
from .http import Blueprint, uncached

LARGEST_ID = 2**63 - 1  # of its column
bp = exempt(Blueprint("history", __name__, url_prefix="/api/v1", description="History"))


class PageSchema(StrictSchema):
    """Which page: up to `limit` entries, older than the one with the id `before`."""

    limit = WrittenInteger(load_default=50, validate=Range(1, 200))
    before = WrittenInteger(load_default=None, validate=Range(1, LARGEST_ID))
    key = StrictString(load_default=None, validate=Length(max=200))
    by = StrictString(load_default=None, validate=Length(max=200))


class QuerySchema(PageSchema):
    """Which page of which entries."""

    kind = StrictString(load_default=None, validate=OneOf(KINDS))


@bp.route("/history")
@require("settings:read")
@bp.arguments(QuerySchema, location="query")
def show(query: dict[str, Any]) -> Response:
    """Show the changes to everything, newest first."""
    return _page(query)


@bp.route("/settings/history")
@require("settings:read")
@bp.arguments(PageSchema, location="query")
def show_settings(query: dict[str, Any]) -> Response:
    """Show the changes to the settings, newest first."""
    return _page({**query, "kind": "settings"})


def _page(query: dict[str, Any]) -> Response:
    changes, before = page(**query)
    path = None
    if before is not None:
        path = f"{request.path}?{urlencode({**request.args.to_dict(), 'before': before})}"
    return uncached({"changes": changes, "next": path})
