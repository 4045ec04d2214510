"""The table of changes. Entries are only added: on PostgreSQL by a trigger, on SQLite by `service.record`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..columns import UtcDateTime
from ..extensions import Base

ANY_JSON = JSON().with_variant(JSONB(), "postgresql")
KINDS = ("settings", "window", "token", "component")


class Change(Base):
    """Who changed what from what to what, when, through what, and why."""

    __tablename__ = "changes"
    # One index for each way to filter, each ending in the id, so that a page costs the same however long the table is.
    __table_args__ = (
        Index(None, "revision"),
        Index(None, "kind", "id"),
        Index(None, "key", "id"),
        Index(None, "changed_by", "id"),
        Index(None, "kind", "changed_by", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, doc="Only grows.")
    kind: Mapped[str] = mapped_column(String(16), doc="One of KINDS.")
    key: Mapped[str | None] = mapped_column(String(200), doc="Which of its kind; null for settings.")
    revision: Mapped[int | None] = mapped_column(doc="The settings' after the change; null for other kinds.")
    action: Mapped[str] = mapped_column(String(8), doc="insert, update or delete.")
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_by: Mapped[str] = mapped_column(String(200), doc="As the writer says.")
    database_user: Mapped[str | None] = mapped_column(String(63), doc="As the server knows; null on SQLite.")
    source: Mapped[str] = mapped_column(String(16), doc="api, cli, panel, sql or migration.")
    reason: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    changes: Mapped[dict[str, Any]] = mapped_column(ANY_JSON, doc="By field: what it was (from) and became (to).")
    values: Mapped[dict[str, Any] | None] = mapped_column(
        ANY_JSON, doc="Every setting after the change; null for other kinds."
    )
