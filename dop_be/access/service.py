"""Make, list and revoke tokens; bypasses are tokens too."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import Session

from ..columns import database_now
from ..database import Author, along, ask, author, first, writing
from ..errors import Forbidden, InvalidInput, Unauthorized
from ..extensions import Base, db
from ..fields import with_timestamps
from ..history import service as history
from . import tokens
from .models import ApiToken

ADMIN = "admin"  # the name of whoever holds ADMIN_TOKEN
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RECORDED = ("scopes", "created_by", "expires_at", "revoked_at", "revoked_by")
TABLE = Base.metadata.tables[ApiToken.__tablename__]
logger = logging.getLogger(__name__)


def create(
    name: str, scopes: Iterable[str], by: Author, *, lifetime: timedelta | None = None
) -> tuple[str, datetime | None]:
    """Make a token; return its text, which nobody can read again, and when it expires.

    Args:
        name: free unless a token in force has it.
        scopes: of `tokens.SCOPES`, or `tokens.BYPASS` alone.
        by: who makes it.
        lifetime: None: for ever, or two hours for a bypass.

    Raises:
        InvalidInput: the name is taken or malformed, or a bypass would have other scopes or live for over 30 days.
        DatabaseUnavailable: no token was made.
    """
    scopes = set(scopes)
    if tokens.BYPASS in scopes:
        lifetime = _bypass_lifetime(scopes, lifetime)
    _check_name(name, tokens.BYPASS in scopes)
    identifier, text = tokens.new()
    with writing(by) as session:
        now = first(session, select(database_now())).scalar_one()
        expires_at = now + lifetime if lifetime else None
        _free(session, name, now)
        values = {
            "id": identifier,
            "name": name,
            "digest": tokens.digest(text),
            "scopes": " ".join(sorted(scopes)),
            "created_at": now,
            "created_by": by.actor,
            "expires_at": expires_at,
        }
        along(session, insert(TABLE).values(values))
        history.record(session, "token", [(name, None, _recorded(values) | {"digest": history.SECRET})])
    logger.info("token created", extra={**asdict(by), "token_name": name})
    return text, expires_at


def _check_name(name: str, bypass: bool) -> None:
    if name == ADMIN:
        raise InvalidInput({"name": [f"{ADMIN!r} is taken by ADMIN_TOKEN; use another name."]})
    if not NAME.fullmatch(name):
        accepted = "use up to 100 letters, digits and . _ - beginning with a letter or a digit"
        raise InvalidInput({"name": [f"{name[:40]!r} is not the name of a {_sort(bypass)}; {accepted}."]})


def _sort(bypass: bool) -> str:
    return "bypass" if bypass else "token"


def _revocation(name: str, bypass: bool) -> str:
    """Return the command that revokes a token or a bypass."""
    return f"`flask {'maintenance bypass' if bypass else 'tokens'} revoke {name}`"


def _bypass_lifetime(scopes: set[str], lifetime: timedelta | None) -> timedelta:
    if scopes != {tokens.BYPASS}:
        raise InvalidInput({"scopes": [f"{tokens.BYPASS} goes with no other scope."]})
    lifetime = lifetime or tokens.BYPASS_LIFETIME
    if not timedelta(0) < lifetime <= tokens.LONGEST_BYPASS:
        raise InvalidInput({"expires_at": [f"A bypass is valid for {tokens.LONGEST_BYPASS.days} days at most."]})
    return lifetime


def _free(session: Session, name: str, now: datetime) -> None:
    """Free a name that an expired token still has."""
    holder = session.execute(in_force(name).with_for_update()).mappings().first()
    if holder is None:
        return
    if not tokens.load(holder).is_over(now.timestamp()):
        bypass = is_bypass(holder)
        said = f"There is a {_sort(bypass)} {name!r} already; revoke it first: {_revocation(name, bypass)}."
        raise InvalidInput({"name": [said]})
    _revoke(session, holder, now)


def revoke(name: str, by: Author, *, bypass: bool = False) -> bool:
    """Revoke a token in every worker; return False where it is revoked already.

    Args:
        name: of the token.
        by: who revokes it.
        bypass: whether it is a bypass; a token of the other sort is left alone.

    Raises:
        InvalidInput: there never was one with this name.
        DatabaseUnavailable: whether it is still in force is not known.
    """
    with writing(by) as session:
        asked = in_force(name).add_columns(database_now().label("now")).with_for_update()
        holder = first(session, asked).mappings().first()
        if holder is None or is_bypass(holder) is not bypass:
            sort = TABLE.c.scopes == tokens.BYPASS if bypass else TABLE.c.scopes != tokens.BYPASS
            if session.scalar(select(TABLE.c.id).where(TABLE.c.name == name, sort).limit(1)):
                return False
            raise InvalidInput({"name": [_unknown(name, bypass, of_other_sort=holder is not None)]})
        _revoke(session, holder, holder["now"])
    logger.info("token revoked", extra={**asdict(by), "token_name": name})
    return True


def forget_component(session: Session, name: str) -> None:
    """Take a component that is removed off every token, on SQLite; on PostgreSQL a trigger does."""
    if session.get_bind().dialect.name == "postgresql":
        return
    for row in session.execute(select(TABLE).where(TABLE.c.components.is_not(None))).mappings().all():
        left = [each for each in row["components"].split() if each != name]
        if len(left) < len(row["components"].split()):
            session.execute(update(TABLE).where(TABLE.c.id == row["id"]).values(components=" ".join(left)))
            sides = ({"components": row["components"]}, {"components": " ".join(left)})
            history.record(session, "token", [(row["name"], *sides)])


def _unknown(name: str, bypass: bool, *, of_other_sort: bool) -> str:
    if not of_other_sort:
        return f"There is no {_sort(bypass)} {name!r}."
    return f"{name!r} is a {_sort(not bypass)}, not a {_sort(bypass)}; revoke it with {_revocation(name, not bypass)}."


def _revoke(session: Session, holder: RowMapping, now: datetime) -> None:
    values = {"revoked_at": now, "revoked_by": author(session).actor}
    along(session, update(TABLE).where(TABLE.c.id == holder["id"]).values(values))
    history.record(session, "token", [(holder["name"], _recorded(holder), _recorded({**holder, **values}))])


def _recorded(row: Any) -> dict[str, Any]:
    return with_timestamps({name: row.get(name) for name in RECORDED})


def all_tokens() -> tuple[list[RowMapping], datetime]:
    """Return every token and bypass there ever was, oldest first, and the time on the database's clock.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    known = list(ask(db.engine, select(TABLE).order_by(TABLE.c.created_at, TABLE.c.id)).mappings())
    return known, ask(db.engine, select(database_now())).scalar_one()


def is_bypass(token: RowMapping) -> bool:
    """Whether a row is a bypass."""
    return tokens.BYPASS in str(token["scopes"]).split()


def state(token: RowMapping, now: datetime) -> str:
    """Return "in force", "expired" or "revoked"; one that was revoked after it had expired is "expired"."""
    expires_at, revoked_at = expiry(token), token["revoked_at"]
    if expires_at is not None and expires_at <= min(revoked_at or now, now):
        return "expired"
    return "revoked" if revoked_at else "in force"


def expiry(token: RowMapping) -> datetime | None:
    """Return when a token ends by itself; SQL may have stored a bypass without an end."""
    return tokens.load(token).expires_at


def in_force(name: str) -> Select[Any]:
    """Select the token with this name that was not revoked."""
    return select(TABLE).where(TABLE.c.name == name, TABLE.c.revoked_at.is_(None))


def recheck(by: Author, known: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Check the writer's token and its scope once more, among the tokens as they are in the transaction of its write.

    A revocation raises the version, as every change does, and waits for the writer that raised it before: so one that
    was committed before this write is seen here.

    Raises:
        Unauthorized: it was revoked, or has expired.
        Forbidden: the scope was taken from it.
    """
    if by.token is None:
        return
    token = next((tokens.load(row) for row in known if row["id"] == by.token), None)
    if token is None or token.is_over(now.timestamp()):
        raise Unauthorized("The token was revoked or has expired; nothing was changed.")
    if by.scope not in token.scopes:
        raise Forbidden(f"The token lacks the scope {by.scope}; nothing was changed.")
