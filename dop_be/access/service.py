"""Make, list and revoke tokens; bypasses are tokens too."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import Session

from ..columns import database_now
from ..database import Author, along, ask, author, first, writing
from ..errors import Forbidden, InvalidInput, NameTaken, Taken, Unauthorized
from ..extensions import Base, db
from ..fields import timestamp, with_timestamps
from ..history import service as history
from . import names, tokens
from .models import ApiToken

RECORDED = ("scopes", "components", "created_by", "expires_at", "revoked_at", "revoked_by")
TABLE = Base.metadata.tables[ApiToken.__tablename__]
logger = logging.getLogger(__name__)


def create(
    name: str,
    scopes: Iterable[str],
    by: Author,
    *,
    lifetime: timedelta | None = None,
    components: Iterable[str] | None = None,
) -> tuple[str, datetime | None]:
    """Make a token; return its text, which nobody can read again, and when it expires; see `make`."""
    text, token = make(name, scopes, by, until=lifetime, components=components)
    return text, token["expires_at"]


def make(
    name: str,
    scopes: Iterable[str],
    by: Author,
    *,
    until: datetime | timedelta | None = None,
    components: Iterable[str] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Make a token; return its text, which nobody can read again, and its row.

    Args:
        name: free unless a token in force has it.
        scopes: of `tokens.SCOPES`, or `tokens.BYPASS` alone.
        by: who makes it; where that is a token, it gives no scope and no later expiry than its own.
        until: when, or after what time, it expires. None: never, or after two hours for a bypass.
        components: those that it is limited to, which exist; None: it is not limited.

    Raises:
        InvalidInput: the name is malformed, the expiry has passed, a bypass would have other scopes or live for over 30
            days, or a scope cannot be limited to components.
        Forbidden: the maker would give more than it has.
        NameTaken: a token in force has the name.
        DatabaseUnavailable: no token was made.
    """
    scopes = set(scopes)
    bypass = tokens.BYPASS in scopes
    if bypass and scopes != {tokens.BYPASS}:
        raise InvalidInput({"scopes": [f"{tokens.BYPASS} goes with no other scope."]})
    names.check_name(name, bypass)
    if components is not None and (others := sorted(scopes - tokens.LIMITABLE)):
        raise InvalidInput({"components": [f"{', '.join(others)} cannot be limited to components."]})
    identifier, text = tokens.new()
    try:
        with writing(by) as session:
            now = first(session, select(database_now())).scalar_one()
            maker, holder = _locked(session, by, name)
            values = {
                "id": identifier,
                "name": name,
                "digest": tokens.digest(text),
                "scopes": " ".join(sorted(scopes)),
                "components": None if components is None else " ".join(sorted(set(components))),
                "created_at": now,
                "created_by": by.actor,
                "expires_at": _expiry(until, now, bypass),
            }
            _check_gift(maker, tokens.load(values))
            _free(session, holder, now)
            along(session, insert(TABLE).values(values))
            history.record(session, "token", [(name, None, _recorded(values) | {"digest": history.SECRET})])
    except Taken as error:
        raise NameTaken(error.errors) from error
    logger.info("token created", extra={**by.told(), "token_name": name})
    return text, values


def _locked(session: Session, by: Author, name: str) -> tuple[tokens.Token | None, RowMapping | None]:
    """Lock the writer's token and the one with this name, in one order for all; return them, None where there is none.

    Nobody takes anything from the former until this transaction ends.

    Raises:
        Unauthorized, Forbidden: as `recheck` does.
    """
    wanted = and_(or_(TABLE.c.id == by.token, TABLE.c.name == name), TABLE.c.revoked_at.is_(None))
    asked = select(TABLE, database_now().label("now")).where(wanted).order_by(TABLE.c.id).with_for_update()
    found = first(session, asked).mappings().all()
    recheck(by, found, found[0]["now"] if found else tokens.LAST_DAY)
    writer = next((tokens.load(row) for row in found if row["id"] == by.token), None)
    return writer, next((row for row in found if row["name"] == name), None)


def _check_gift(maker: tokens.Token | None, given: tokens.Token) -> None:
    """Raise Forbidden where a token would give what it has not; the command line and ADMIN_TOKEN have everything."""
    if maker is None or not given.exceeds(maker):
        return
    if missing := sorted(given.scopes - maker.scopes):
        raise Forbidden(f"The token lacks {', '.join(missing)}, and gives no scope that it has not.")
    raise Forbidden(f"The token expires at {maker.expires_at and timestamp(maker.expires_at)}, and gives none beyond.")


def _expiry(until: datetime | timedelta | None, now: datetime, bypass: bool) -> datetime | None:
    if until is None and bypass:
        until = tokens.BYPASS_LIFETIME
    expires_at = now + until if isinstance(until, timedelta) else until
    if bypass and expires_at and expires_at > now + tokens.LONGEST_BYPASS:
        raise InvalidInput({"expires_at": [f"A bypass is valid for {tokens.LONGEST_BYPASS.days} days at most."]})
    if expires_at and expires_at <= now:
        raise InvalidInput({"expires_at": ["Must be in the future."]})
    return expires_at


def _free(session: Session, holder: RowMapping | None, now: datetime) -> None:
    """Free a name that an expired token still has."""
    if holder is None:
        return
    if not tokens.load(holder).is_over(now.timestamp()):
        name, bypass = holder["name"], is_bypass(holder)
        said = f"There is a {names.sort(bypass)} {name!r} already; revoke it first: {names.revocation(name, bypass)}."
        raise NameTaken({"name": [said]})
    _revoke(session, holder, now)


def revoke(name: str, by: Author, *, bypass: bool | None = False) -> bool:
    """Revoke a token in every worker; return False where it is revoked already.

    Args:
        name: of the token.
        by: who revokes it; where that is a token, one that has more is left alone.
        bypass: whether it is a bypass; a token of the other sort is left alone. None: either, and one that expired or
            never was is taken for revoked.

    Raises:
        InvalidInput: there never was one with this name.
        Forbidden: the token has more than the writer's.
        DatabaseUnavailable: whether it is still in force is not known.
    """
    if bypass is None and name == names.ADMIN:
        raise Forbidden(f"{names.ADMIN!r} is ADMIN_TOKEN, which is revoked by changing that variable.")
    with writing(by) as session:
        writer, holder = _locked(session, by, name)
        if bypass is None and (holder is None or tokens.load(holder).is_over(holder["now"].timestamp())):
            return False
        if holder is None or (bypass is not None and is_bypass(holder) is not bypass):
            sort = TABLE.c.scopes == tokens.BYPASS if bypass else TABLE.c.scopes != tokens.BYPASS
            if session.scalar(select(TABLE.c.id).where(TABLE.c.name == name, sort).limit(1)):
                return False
            raise InvalidInput({"name": [names.unknown(name, bool(bypass), of_other_sort=holder is not None)]})
        if writer and tokens.load(holder).exceeds(writer):
            raise Forbidden(f"{name!r} has more scopes than the token that would revoke it, or expires later.")
        _revoke(session, holder, holder["now"])
        if holder["id"] == by.token:  # which was checked, and need not be in force when this is committed
            session.info["author"] = replace(by, token=None)
    logger.info("token revoked", extra={**by.told(), "token_name": name})
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


def is_bypass(token: Mapping[Any, Any]) -> bool:
    """Whether a row is a bypass."""
    return tokens.BYPASS in str(token["scopes"]).split()


def state(token: RowMapping, now: datetime) -> str:
    """Return "in force", "expired" or "revoked"; one that was revoked after it had expired is "expired"."""
    expires_at, revoked_at = expiry(token), token["revoked_at"]
    if expires_at is not None and expires_at <= min(revoked_at or now, now):
        return "expired"
    return "revoked" if revoked_at else "in force"


def expiry(token: Mapping[Any, Any]) -> datetime | None:
    """Return when a token ends by itself; SQL may have stored a bypass without an end."""
    return tokens.load(token).expires_at


def recheck(by: Author, known: Iterable[Mapping[Any, Any]], now: datetime) -> None:
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
    if by.components != token.components:
        raise Forbidden("The token is limited to other components by now; nothing was changed.")
