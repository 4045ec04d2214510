"""The version: a number that grows with every change to anything a request needs. NOTIFY carries it."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, text, true
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from .extensions import Base


class LiveState(Base):
    """One row, which holds the version."""

    __tablename__ = "live_state"
    __table_args__ = (CheckConstraint("singleton", name="singleton"),)

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=true())
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))


def raise_version(session: Session) -> None:
    """Announce a change on SQLite, where no trigger does; make a missing row again, so that none is lost."""
    raised = insert(LiveState).values(singleton=True, version=1)
    changes = {"version": LiveState.version + 1}
    session.execute(raised.on_conflict_do_update(index_elements=["singleton"], set_=changes))
