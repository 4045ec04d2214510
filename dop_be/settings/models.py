"""The one row of settings. Each setting is a typed column: add one here, then `flask db revision --autogenerate`."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, String, event, false, func, text, true
from sqlalchemy.orm import Mapped, TypeResolve, mapped_column
from sqlalchemy.types import NullType, TypeEngine

from ..columns import UtcDateTime, enumeration, new_uuid
from ..extensions import Base

MODES = ("full", "read_only")
MESSAGE_LENGTH = 500
SWITCH = frozenset({"is_maintain", "maintenance_mode", "maintenance_message"})  # what `maintenance on` and `off` move

PUBLIC = {"public": True}  # shown to anyone; a column without it is shown to holders of settings:read alone
DERIVED = {"public": True, "read_only": True}  # written by the database with each change, by nobody else


class Unknown(NullType):
    """The type of a Python class that no column can have; `check_columns` names it."""

    def __init__(self, python_class: Any) -> None:
        self.python_class = python_class

    def __repr__(self) -> str:
        return str(self.python_class)


@event.listens_for(Base, "resolve_type_annotation")
def _unknown(asked: TypeResolve) -> TypeEngine[Any] | None:
    """Let the settings have a column of such a type until `check_columns` tells of it in one line."""
    ours = asked.cls.__name__ == "SystemSettings"
    return Unknown(asked.resolved_type) if ours and asked.resolve(asked.resolved_type) is None else None


class SystemSettings(Base):
    """The settings in force. The database itself refuses a second row."""

    __tablename__ = "system_settings"
    __table_args__ = (CheckConstraint("singleton", name="singleton"),)

    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, server_default=new_uuid(), doc="Identifies this installation.", info={"read_only": True}
    )
    singleton: Mapped[bool] = mapped_column(
        server_default=true(), unique=True, doc="Always true and unique: there is one row.", info={"internal": True}
    )
    is_maintain: Mapped[bool] = mapped_column(
        server_default=false(), doc="The switch: maintenance is on until someone switches it off.", info=PUBLIC
    )
    maintenance_mode: Mapped[str] = mapped_column(
        enumeration("maintenance_mode", *MODES, length=16),
        server_default="full",
        doc="What maintenance refuses: everything (full), or everything but GET, HEAD and OPTIONS (read_only).",
        info=PUBLIC,
    )
    maintenance_message: Mapped[str | None] = mapped_column(
        String(MESSAGE_LENGTH), doc="What visitors are told during maintenance.", info=PUBLIC
    )
    maintenance_since: Mapped[datetime | None] = mapped_column(
        UtcDateTime, doc="When the switch was last flipped.", info=DERIVED
    )
    revision: Mapped[int] = mapped_column(server_default=text("1"), doc="Grows by one with every change.", info=DERIVED)
    updated_at: Mapped[datetime] = mapped_column(
        UtcDateTime,
        server_default=func.now(),
        doc="When the settings last changed.",
        info=DERIVED,
    )
    updated_by: Mapped[str | None] = mapped_column(String(200), doc="Who changed them.", info={"read_only": True})

    # Add further settings above this line: docs/migrations.md, "Add a setting".


# The columns that users see, in their order, and those of them that users may change.
SHOWN = [column for column in SystemSettings.__table__.columns if not column.info.get("internal")]
WRITABLE = [column for column in SHOWN if not column.info.get("read_only")]
