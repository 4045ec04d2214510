"""The table of tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ..columns import UtcDateTime
from ..extensions import Base
from .tokens import ID_LENGTH

NOT_REVOKED = text("revoked_at IS NULL")


class ApiToken(Base):
    """A named token. A revoked one stays, to say who held it; its name is free again."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), doc="SHA-256 of the token, in hexadecimal.")
    scopes: Mapped[str] = mapped_column(String(200), doc="With spaces between.")
    components: Mapped[str | None] = mapped_column(
        Text, doc="The names of those that it is limited to, with spaces between; null: it is not limited."
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_by: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (Index(None, "name", unique=True, postgresql_where=NOT_REVOKED, sqlite_where=NOT_REVOKED),)
