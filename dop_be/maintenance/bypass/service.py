"""Giving out bypass tokens, and taking them back."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from ...database import Attribution, reading
from ...errors import InvalidInput
from ...extensions import db
from ...fields import timestamp
from ...live import writing
from ...settings.service import locked_row
from ...version import raise_version
from .models import NAME_LENGTH, Bypass, digest

TOKEN_BYTES = 24
LONGEST = timedelta(days=30)

logger = logging.getLogger(__name__)


def create(name: str, lifetime: timedelta, by: Attribution) -> tuple[str, datetime]:
    """Make a bypass; its token, which is kept nowhere, and when it expires. Expired ones are cleared away.

    Raises:
        InvalidInput: the name is taken or not printable, or the lifetime is none or too long.
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    if not (name.isprintable() and name.strip() and len(name) <= NAME_LENGTH):
        raise InvalidInput({"name": [f"Takes 1 to {NAME_LENGTH} printable characters."]})
    if not timedelta(0) < lifetime <= LONGEST:
        raise InvalidInput({"for": [f"Takes up to {LONGEST.days} days."]})
    token, now = secrets.token_urlsafe(TOKEN_BYTES), datetime.now(UTC)
    with writing(by) as session:
        locked_row(session)
        for expired in session.scalars(select(Bypass).where(Bypass.expires_at <= now)):
            session.delete(expired)
        session.flush()
        if session.get(Bypass, name):
            raise InvalidInput({"name": [f"There is a bypass called {name} already; revoke it first."]})
        session.add(Bypass(name=name, digest=digest(token), created_by=by.actor, expires_at=now + lifetime))
        raise_version(session.connection())
    logger.info("bypass created", extra={**asdict(by), "bypass": name, "expires_at": timestamp(now + lifetime)})
    return token, now + lifetime


def revoke(name: str, by: Attribution) -> None:
    """Take a bypass back; every worker refuses it within milliseconds.

    Raises:
        InvalidInput: there is none of that name.
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    with writing(by) as session:
        locked_row(session)
        bypass = session.get(Bypass, name)
        if bypass is None:
            raise InvalidInput({"name": [f"There is no bypass called {name}."]})
        session.delete(bypass)
        raise_version(session.connection())
    logger.info("bypass revoked", extra={**asdict(by), "bypass": name})


def known() -> Sequence[Any]:
    """Every bypass that was not revoked, as rows of its columns, the one that expires first at the head."""
    columns = (Bypass.name, Bypass.created_at, Bypass.created_by, Bypass.expires_at)
    with reading(db.engine) as connection:
        return connection.execute(select(*columns).order_by(Bypass.expires_at, Bypass.name)).all()
