"""The version that NOTIFY carries and the poll compares."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Connection, text, true, update
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import Base


class LiveState(Base):
    """One row; `version` is raised with every change to anything a request needs."""

    __tablename__ = "live_state"
    __table_args__ = (CheckConstraint("singleton", name="singleton"),)

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=true())
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


def raise_version(connection: Connection) -> None:
    """Announce a change to anything a request needs, on SQLite; on PostgreSQL triggers do."""
    if connection.dialect.name == "sqlite":
        connection.execute(update(LiveState).values(version=LiveState.version + 1))
