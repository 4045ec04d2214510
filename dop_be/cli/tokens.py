"""`flask tokens …`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy.engine import RowMapping

from ..access import service
from ..access.tokens import SCOPES
from ..errors import InvalidInput
from ..fields import with_timestamps
from .commands import DURATION, Group, author, current_state, options, reason_option
from .output import json_option, say, say_json, say_rows
from .times import when

SHOWN = ("id", "name", "scopes", "components", "created_at", "created_by", "expires_at", "revoked_at", "revoked_by")

component_option = click.option(
    "--component", "components", multiple=True, metavar="NAME", help="Limit it to this component; may be repeated."
)
group = Group("tokens", help="Make, list and revoke the named tokens of the API.")


@group.command("create")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be repeated.")
@click.option("--expires", "lifetime", type=DURATION, help="After this time, such as 90d; without it, never.")
@component_option
@json_option
@reason_option
def create(  # noqa: PLR0913 - its options
    name: str,
    scopes: tuple[str, ...],
    lifetime: timedelta | None,
    components: tuple[str, ...],
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a token and print it; it cannot be shown again."""
    with options(components="--component"):
        limits = known(components)
        text, expires_at = service.create(name, scopes, author(reason), lifetime=lifetime, components=limits)
    if as_json:
        say_json(made(name, scopes, expires_at, text, limits))
    else:
        say(text)


@group.command("list")
@json_option
def show(*, as_json: bool) -> None:
    """Show every token there ever was: its name, id, state, scopes, and who made it when."""
    every, now = service.all_tokens()
    shown = [token for token in every if not service.is_bypass(token)]
    if as_json:
        say_json(listed(shown, now))
        return
    say_rows(
        (token["name"], token["id"], _state(token, now), token["scopes"], limited(token), _made(token, now))
        for token in shown
    )


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


def known(components: Iterable[str]) -> list[str] | None:
    """Return the components that a token is limited to, which have to exist; None where none is named.

    Raises:
        InvalidInput: naming those that there are not.
    """
    named = sorted(set(components))
    if named and (unknown := [name for name in named if name not in current_state()[0].components]):
        raise InvalidInput({"components": [f"There is no component {', '.join(unknown)}."]})
    return named or None


def made(
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None,
    text: str,
    components: list[str] | None,
    **more: str,
) -> dict[str, Any]:
    """Return what JSON tells of a token that was just made, `text` being the token itself."""
    facts: dict[str, Any] = {"name": name, "scopes": sorted(set(scopes)), "components": components}
    facts |= {"expires_at": expires_at, "token": text}
    return with_timestamps({**facts, **more})


def listed(tokens: Iterable[RowMapping], now: datetime) -> dict[str, Any]:
    """Return what JSON tells of tokens that there are: no secret, and whether each is in force."""
    return {"tokens": [_facts(token, now) for token in tokens]}


def _facts(token: RowMapping, now: datetime) -> dict[str, Any]:
    facts, limits = {name: token[name] for name in SHOWN}, token["components"]
    facts |= {"scopes": token["scopes"].split(), "expires_at": service.expiry(token)}
    facts |= {"components": None if limits is None else limits.split()}
    return with_timestamps({**facts, "state": service.state(token, now).replace(" ", "_")})


def limited(token: RowMapping) -> str:
    """Return which components a token is limited to, for people; nothing where it is not limited."""
    limits = token["components"]
    return "" if limits is None else f"limited to {', '.join(limits.split()) or 'no component'}"


def _made(token: RowMapping, now: datetime) -> str:
    return f"made {when(token['created_at'], now)} by {token['created_by']}"


def _state(token: RowMapping, now: datetime) -> str:
    state = service.state(token, now)
    if state == "revoked":
        return f"revoked {when(token['revoked_at'], now)} by {token['revoked_by']}"
    if token["expires_at"] is None:
        return state
    return f"{'expired' if state == 'expired' else 'in force until'} {when(token['expires_at'], now)}"
