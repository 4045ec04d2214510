"""`flask maintenance bypass …`: let somebody through the gate, and see and end that."""

from __future__ import annotations

from datetime import timedelta

import click
from flask import current_app

from ..access import service
from ..access.tokens import BYPASS
from ..fields import timestamp
from .commands import DURATION, Group, author, options, reason_option, say

group = Group("bypass", help="Let visitors through during maintenance.")


@group.command("create")
@click.argument("name")
@click.option("--for", "lifetime", type=DURATION, default="2h", show_default=True, help="Such as 30m, 2h or 7d.")
@reason_option
def create(name: str, lifetime: timedelta, reason: str | None) -> None:
    """Make a bypass, and show its link and its token this one time."""
    with options(expires_at="--for"):
        token, expires_at = service.create(name, [BYPASS], author(reason), lifetime=lifetime)
    say(f"bypass {name} is valid until {expires_at and timestamp(expires_at)}; its token is shown this once")
    say(f"link    {current_app.config['PUBLIC_URL']}/gate/bypass/{token}")
    say(f"header  X-Maintenance-Bypass: {token}")


@group.command("list")
def show() -> None:
    """Show every bypass that was not revoked, the expired ones included."""
    every, now = service.all_tokens()
    known = [token for token in every if service.is_bypass(token) and not token["revoked_at"]]
    for token in known:
        ends = "expired" if service.state(token, now) == "expired" else "expires"
        created = f"created {timestamp(token['created_at'])} by {token['created_by']}"
        expires_at = service.expiry(token)
        say(f"{token['name']}  {ends} {expires_at and timestamp(expires_at)}  {created}")
    if not known:
        say("there is no bypass")


@group.command("revoke")
@click.argument("name")
@reason_option
def revoke(name: str, reason: str | None) -> None:
    """Revoke a bypass, in every worker at once."""
    revoked = service.revoke(name, author(reason), bypass=True)
    say(f"bypass {name} is {'revoked' if revoked else 'already revoked'}")
