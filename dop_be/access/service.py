"""Making and revoking named tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.engine import RowMapping

from ..database import Attribution, reading
from ..errors import InvalidInput
from ..extensions import db
from ..live import writing
from ..version import raise_version
from ..web.auth import ADMIN
from . import tokens
from .models import ApiToken

logger = logging.getLogger(__name__)


def create(name: str, scopes: Iterable[str], by: Attribution, *, lifetime: timedelta | None = None) -> str:
    """Make a token, and return its text, which nobody can read again.

    Raises:
        InvalidInput: the name is taken, or cannot be one.
        DatabaseUnavailable: no token was made.
    """
    if not name.strip() or not name.isprintable() or len(name) > 200 or name == ADMIN:
        raise InvalidInput({"name": [f"Takes up to 200 printable characters, and not {ADMIN!r}."]})
    identifier, text = tokens.new()
    now = datetime.now(UTC)
    with writing(by) as session:
        if session.scalar(in_force(name)):
            raise InvalidInput({"name": [f"There is a token {name!r} already; revoke it first."]})
        session.add(
            ApiToken(
                id=identifier,
                name=name,
                digest=tokens.digest(text),
                scopes=" ".join(sorted(set(scopes))),
                created_at=now,
                created_by=by.actor,
                expires_at=now + lifetime if lifetime else None,
            )
        )
        raise_version(session.connection())
    logger.info("token created", extra={**asdict(by), "token_name": name})
    return text


def revoke(name: str, by: Attribution) -> bool:
    """Take a token out of force, in every worker; False where it is already.

    Raises:
        InvalidInput: there never was one with this name.
        DatabaseUnavailable: whether it is still in force is not known.
    """
    with writing(by) as session:
        token = session.scalar(in_force(name).with_for_update())
        if token is None:
            if session.scalar(select(ApiToken.id).where(ApiToken.name == name)):
                return False
            raise InvalidInput({"name": [f"There is no token {name!r}."]})
        token.revoked_at, token.revoked_by = datetime.now(UTC), by.actor
        raise_version(session.connection())
    logger.info("token revoked", extra={**asdict(by), "token_name": name})
    return True


def listed() -> list[RowMapping]:
    """Every token there ever was, oldest first.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    with reading(db.engine) as connection:
        return list(connection.execute(select(ApiToken.__table__).order_by(ApiToken.created_at)).mappings())


def in_force(name: str) -> Select[ApiToken]:
    return select(ApiToken).where(ApiToken.name == name, ApiToken.revoked_at.is_(None))
