"""Bypass tokens, as the database keeps them."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from sqlalchemy import String, func
from sqlalchemy.orm import Mapped, mapped_column

from ...columns import UtcDateTime
from ...extensions import Base

NAME_LENGTH = 100


class Bypass(Base):
    """A visitor, or a program, that the gate lets through until `expires_at`; the token itself is nowhere kept."""

    __tablename__ = "maintenance_bypasses"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    created_by: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


def digest(token: str) -> str:
    """The token's SHA-256; a token of 192 random bits needs no salt and no slow hash."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
