"""The components and the planned windows. Rows may also come from SQL or a migration, so that there are defaults."""

from __future__ import annotations

import re
import uuid
from dataclasses import fields
from datetime import datetime

from sqlalchemy import CheckConstraint, String, false, select
from sqlalchemy.orm import Mapped, mapped_column

from ..columns import UtcDateTime, enumeration, new_uuid
from ..extensions import Base
from ..settings.models import MESSAGE_LENGTH, MODES
from .schedule import Window

NAME_LENGTH, TITLE_LENGTH = 63, 100
NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}", re.ASCII)  # of a component
ZONE_LENGTH = 64
RULE_LENGTH = 200


class Component(Base):
    """A named part of the platform that can be closed alone."""

    __tablename__ = "components"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    title: Mapped[str | None] = mapped_column(String(TITLE_LENGTH), doc="What people see; null: the name.")
    is_maintain: Mapped[bool] = mapped_column(server_default=false())
    maintenance_mode: Mapped[str] = mapped_column(
        enumeration("maintenance_mode", *MODES, length=16), server_default=MODES[0]
    )
    maintenance_message: Mapped[str | None] = mapped_column(String(MESSAGE_LENGTH))
    maintenance_since: Mapped[datetime | None] = mapped_column(UtcDateTime, doc="When its switch was last flipped.")


class MaintenanceWindow(Base):
    """A planned maintenance; `starts_at` and `ends_at` are those of its first occurrence, `rrule` makes it recur."""

    __tablename__ = "maintenance_windows"
    # Python cannot hold `infinity`, and one row that cannot be read would keep every worker from reading any.
    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="starts_before_end"),
        CheckConstraint("starts_at >= '2000-01-01' AND ends_at < '3000-01-01'", name="finite"),
        CheckConstraint("ended_at >= '2000-01-01' AND ended_at < '3000-01-01'", name="ended_finite"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=new_uuid())
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    mode: Mapped[str] = mapped_column(enumeration("mode", *MODES, length=16), server_default=MODES[0])
    message: Mapped[str | None] = mapped_column(String(MESSAGE_LENGTH))
    timezone: Mapped[str] = mapped_column(String(ZONE_LENGTH), server_default="UTC")
    rrule: Mapped[str | None] = mapped_column(String(RULE_LENGTH))
    ended_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, doc="When somebody last ended an occurrence of it early."
    )
    ad_hoc: Mapped[bool] = mapped_column(
        server_default=false(), doc="Whether it was opened from now, by `on --for` or `until`, and not planned."
    )
    component: Mapped[str | None] = mapped_column(String(NAME_LENGTH), doc="Null for the whole platform.")


COMPONENTS = select(*Component.__table__.columns).order_by(Component.name)
COLUMNS = {field.name: MaintenanceWindow.__table__.c[field.name] for field in fields(Window)}
WINDOWS = select(*COLUMNS.values()).order_by(MaintenanceWindow.starts_at, MaintenanceWindow.id)
