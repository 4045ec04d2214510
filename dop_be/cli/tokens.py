"""`flask tokens …`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy.engine import RowMapping

from ..access import service
from ..access.tokens import SCOPES
from ..fields import with_timestamps
from .commands import DURATION, Group, author, reason_option
from .output import json_option, say, say_json, say_rows
from .times import when

SHOWN = ("id", "name", "scopes", "created_at", "created_by", "expires_at", "revoked_at", "revoked_by")

group = Group("tokens", help="Make, list and revoke the named tokens of the API.")


@group.command("create")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be repeated.")
@click.option("--expires", "lifetime", type=DURATION, help="After this time, such as 90d; without it, never.")
@json_option
@reason_option
def create(
    name: str, scopes: tuple[str, ...], lifetime: timedelta | None, reason: str | None, *, as_json: bool
) -> None:
    """Make a token and print it; it cannot be shown again."""
    text, expires_at = service.create(name, scopes, author(reason), lifetime=lifetime)
    if as_json:
        say_json(made(name, scopes, expires_at, text))
    else:
        say(text)


@group.command("list")
@json_option
def show(*, as_json: bool) -> None:
    """Show every token there ever was: its name, id, state, scopes, and who made it when."""
    every, now = service.all_tokens()
    known = [token for token in every if not service.is_bypass(token)]
    if as_json:
        say_json(listed(known, now))
        return
    say_rows((token["name"], token["id"], _state(token, now), token["scopes"], _made(token, now)) for token in known)


@group.command("revoke")
@click.argument("name")
@json_option
@reason_option
def revoke(name: str, reason: str | None, *, as_json: bool) -> None:
    """Revoke a token, in every worker at once."""
    revoked = service.revoke(name, author(reason))
    if as_json:
        say_json({"name": name, "changed": revoked})
    else:
        say(f"token {name} is {'revoked' if revoked else 'already revoked'}")


def made(name: str, scopes: Iterable[str], expires_at: datetime | None, text: str, **more: str) -> dict[str, Any]:
    """Return what JSON tells of a token that was just made, `text` being the token itself."""
    facts = {"name": name, "scopes": sorted(set(scopes)), "expires_at": expires_at, "token": text}
    return with_timestamps({**facts, **more})


def listed(tokens: Iterable[RowMapping], now: datetime) -> dict[str, Any]:
    """Return what JSON tells of tokens that there are: no secret, and whether each is in force."""
    return {"tokens": [_facts(token, now) for token in tokens]}


def _facts(token: RowMapping, now: datetime) -> dict[str, Any]:
    known = {name: token[name] for name in SHOWN}
    known |= {"scopes": token["scopes"].split(), "expires_at": service.expiry(token)}
    return with_timestamps({**known, "state": service.state(token, now).replace(" ", "_")})


def _made(token: RowMapping, now: datetime) -> str:
    return f"made {when(token['created_at'], now)} by {token['created_by']}"


def _state(token: RowMapping, now: datetime) -> str:
    state = service.state(token, now)
    if state == "revoked":
        return f"revoked {when(token['revoked_at'], now)} by {token['revoked_by']}"
    if token["expires_at"] is None:
        return state
    return f"{'expired' if state == 'expired' else 'in force until'} {when(token['expires_at'], now)}"
