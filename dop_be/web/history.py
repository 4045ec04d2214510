"""`/api/v1/history`: who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from marshmallow import ValidationError, fields
from marshmallow.validate import Length, OneOf, Range
from sqlalchemy.engine import RowMapping

from ..fields import StrictSchema, StrictString, Timestamp, WrittenInteger, timestamp
from ..history import service
from ..history.model import KINDS
from ..maintenance.schemas import WINDOW
from ..settings.schemas import FIELDS
from .auth import require
from .exemption import exempt
from .http import Blueprint, uncached

LARGEST_ID = 2**63 - 1  # of its column
# How recorded values are shown, by kind and name: as these fields would; others as they are recorded.
SHOWN_AS: Mapping[str, Mapping[str, fields.Field[Any]]] = {
    "settings": FIELDS,
    "window": dict.fromkeys(("starts_at", "ends_at", "ended_at"), WINDOW.fields["starts_at"]),
    "token": dict.fromkeys(("created_at", "expires_at", "revoked_at"), Timestamp()),
}

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


def page(**query: Any) -> tuple[list[dict[str, Any]], int | None]:
    """Return entries as JSON shows them, and the `before` of the next page, if any; takes what `service.page` does."""
    rows, before = service.page(**query)
    return [_entry(row) for row in rows], before


def _entry(row: RowMapping) -> dict[str, Any]:
    known = SHOWN_AS.get(row["kind"], {})  # a newer release may record further kinds
    changes = {
        name: {side: shown(known.get(name), sides[side]) for side in ("from", "to")}
        for name, sides in sorted(row["changes"].items())
    }
    return {**row, "changed_at": timestamp(row["changed_at"]), "changes": changes}


def shown(field: fields.Field[Any] | None, value: Any) -> Any:
    """Return a recorded value as the API shows that field; as it was recorded where the field is gone or changed."""
    value = service.as_sent(field, value)
    if field is None or value is None:
        return value
    try:
        return field.serialize("value", {"value": field.deserialize(value)})
    except ValidationError:
        return value


def _page(query: dict[str, Any]) -> Response:
    changes, before = page(**query)
    path = None
    if before is not None:
        path = f"{request.path}?{urlencode({**request.args.to_dict(), 'before': before})}"
    return uncached({"changes": changes, "next": path})
