"""What a restore or an undo leads to, by what the database has recorded of the revision that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dop_be.settings.models import SWITCH

from ..record import Write
from .case import Case, Found, name
from .states import Life, Row


def wanted(life: Life, write: Write) -> dict[str, Any] | None:
    """Return the values that the settings have after it; None where the life has no such revision.

    The switch's own fields stay as they are (contract, "restore and undo").
    """
    row = _revision(life, write)
    if row is None:
        return None
    values = row["values"] if write.kind == "restore" else {n: sides["from"] for n, sides in row["changes"].items()}
    return {field: value for field, value in values.items() if field not in SWITCH}


def wrong_values(case: Case, write: Write) -> Found:
    """Yield where a restore or an undo made other values than those of the revision that it names."""
    for life in case.states.lives:
        for row in life.rows(write.id):
            if row["kind"] == "settings" and row["values"] is not None:
                yield from _compared(write, row, wanted(life, write))


def _compared(write: Write, row: Row, values: Mapping[str, Any] | None) -> Found:
    if values is None:
        yield f"{name(write)} made revision {row['revision']} of one that never was", write.received
    for field, value in (values or {}).items():
        if row["values"].get(field) != value:
            told = (
                f"made {field} {row['values'].get(field)!r}, and revision {write.asked['revision']} asks for {value!r}"
            )
            yield f"{name(write)} {told}", write.received


def _revision(life: Life, write: Write) -> Row | None:
    rows = (row for transaction in life.transactions for row in transaction if row["values"] is not None)
    return next((row for row in rows if row["revision"] == write.asked.get("revision")), None)
