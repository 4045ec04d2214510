"""The history of the settings: one entry per revision, which nobody changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import JSON, String, Text, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import Mapped, mapped_column

from ..columns import UtcDateTime
from ..database import reading
from ..extensions import Base, db
from ..fields import Digits, timestamp
from .schemas import FIELDS

ANY_JSON = JSON().with_variant(JSONB(), "postgresql")


class SettingsHistory(Base):
    """Who changed which setting from what to what, when, through what, and why."""

    __tablename__ = "system_settings_history"

    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_by: Mapped[str] = mapped_column(String(200))
    source: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    changes: Mapped[dict[str, Any]] = mapped_column(ANY_JSON, doc="By name: what it was (from) and became (to).")
    values: Mapped[dict[str, Any]] = mapped_column(ANY_JSON, doc="Every setting after the change, by name.")


SHOWN = [column for column in SettingsHistory.__table__.columns if column.key != "values"]


def page(limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """Up to `limit` entries as JSON shows them, newest first, older than the revision `before`.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    query = select(*SHOWN).order_by(SettingsHistory.revision.desc()).limit(limit)
    if before is not None:
        query = query.where(SettingsHistory.revision < before)
    with reading(db.engine) as connection:
        return [_entry(row) for row in connection.execute(query).mappings()]


def _entry(row: RowMapping) -> dict[str, Any]:
    changes = {
        name: {side: shown(name, value) for side, value in sorted(change.items())}
        for name, change in sorted(row["changes"].items())
    }
    return {**row, "changed_at": timestamp(row["changed_at"]), "changes": changes}


def shown(name: str, value: Any) -> Any:
    """Return a recorded value as the API shows that setting; as recorded where the setting is gone or has changed."""
    field, value = FIELDS.get(name), as_sent(name, value)
    if field is None or value is None:
        return value
    try:
        values: Mapping[str, Any] = {name: field.deserialize(value)}
    except ValidationError:
        return value
    return field.serialize(name, values)


def as_sent(name: str, value: Any) -> Any:
    """Return a recorded value as a client sends that setting; PostgreSQL records exact numbers as JSON numbers."""
    if isinstance(FIELDS.get(name), Digits) and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return f"{Decimal(value):f}"
    if not isinstance(value, Decimal):
        return value
    return float(value) if name in FIELDS or Decimal(repr(float(value))) == value else f"{value:f}"
