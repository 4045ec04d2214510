"""`flask tokens …`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click
from sqlalchemy.engine import RowMapping

from ..access import service
from ..access.tokens import SCOPES
from ..fields import timestamp
from .commands import DURATION, Group, author, reason_option, say

group = Group("tokens", help="Make, list and revoke the named tokens of the API.")


@group.command("create")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be repeated.")
@click.option("--expires", "lifetime", type=DURATION, help="After this time, such as 90d; without it, never.")
@reason_option
def create(name: str, scopes: tuple[str, ...], lifetime: timedelta | None, reason: str | None) -> None:
    """Make a token and print it; it cannot be shown again."""
    text, _ = service.create(name, scopes, author(reason), lifetime=lifetime)
    say(text)


@group.command("list")
def show() -> None:
    """Show every token there ever was: its name, id, state, scopes, and who made it when."""
    known, now = service.all_tokens()
    for token in known:
        if not service.is_bypass(token):
            made = f"made {timestamp(token['created_at'])} by {token['created_by']}"
            say(f"{token['name']}  {token['id']}  {_state(token, now)}  {token['scopes']}  {made}")


@group.command("revoke")
@click.argument("name")
@reason_option
def revoke(name: str, reason: str | None) -> None:
    """Revoke a token, in every worker at once."""
    revoked = service.revoke(name, author(reason))
    say(f"token {name} is {'revoked' if revoked else 'already revoked'}")


def _state(token: RowMapping, now: datetime) -> str:
    state = service.state(token, now)
    if state == "revoked":
        return f"revoked {timestamp(token['revoked_at'])} by {token['revoked_by']}"
    if token["expires_at"] is None:
        return state
    return f"{'expired' if state == 'expired' else 'in force until'} {timestamp(token['expires_at'])}"
