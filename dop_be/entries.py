"""How entries of the history are shown, by the API and the command line alike: as the fields of each kind are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields
from sqlalchemy.engine import RowMapping

from .fields import Timestamp, timestamp
from .history import service
from .maintenance.schemas import WINDOW
from .settings.schemas import FIELDS

# How recorded values are shown, by kind and name: as these fields would; others as they are recorded.
SHOWN_AS: Mapping[str, Mapping[str, fields.Field[Any]]] = {
    "settings": FIELDS,
    "window": dict.fromkeys(("starts_at", "ends_at", "ended_at"), WINDOW.fields["starts_at"]),
    "token": dict.fromkeys(("created_at", "expires_at", "revoked_at"), Timestamp()),
}


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
