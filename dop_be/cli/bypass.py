"""`flask maintenance bypass …`: let somebody through the gate, and see and end that."""

from __future__ import annotations

from datetime import datetime, timedelta

import click
from flask import current_app
from sqlalchemy.engine import RowMapping

from ..access import service
from ..access.tokens import BYPASS
from .commands import DURATION, Group, author, options, reason_option
from .output import json_option, say, say_json, say_rows
from .times import local, when
from .tokens import component_option, known, limited, listed, made

group = Group("bypass", help="Let visitors through during maintenance.")


@group.command("create")
@click.argument("name")
@click.option("--for", "lifetime", type=DURATION, default="2h", show_default=True, help="Such as 30m, 2h or 7d.")
@component_option
@json_option
@reason_option
def create(name: str, lifetime: timedelta, components: tuple[str, ...], reason: str | None, *, as_json: bool) -> None:
    """Make a bypass, and show its link and its token this one time."""
    with options(expires_at="--for", components="--component"):
        limits = known(components)
        token, expires_at = service.create(name, [BYPASS], author(reason), lifetime=lifetime, components=limits)
    link = f"{current_app.config['PUBLIC_URL']}/gate/bypass/{token}"
    if as_json:
        say_json(made(name, [BYPASS], expires_at, token, limits, link=link))
        return
    say(f"bypass {name} is valid until {expires_at and local(expires_at)}; its token is shown this once")
    say(f"link    {link}")
    say(f"header  X-Maintenance-Bypass: {token}")


@group.command("list")
@json_option
def show(*, as_json: bool) -> None:
    """Show every bypass that was not revoked, the expired ones included."""
    every, now = service.all_tokens()
    shown = [token for token in every if service.is_bypass(token) and not token["revoked_at"]]
    if as_json:
        say_json(listed(shown, now))
    elif shown:
        say_rows(_row(token, now) for token in shown)
    else:
        say("there is no bypass")


def _row(token: RowMapping, now: datetime) -> tuple[str, ...]:
    ends = "expired" if service.state(token, now) == "expired" else "expires"
    expires_at = service.expiry(token)
    created = f"created {when(token['created_at'], now)} by {token['created_by']}"
    return token["name"], f"{ends} {expires_at and when(expires_at, now)}", limited(token), created


@group.command("revoke")
@click.argument("name")
@json_option
@reason_option
def revoke(name: str, reason: str | None, *, as_json: bool) -> None:
    """Revoke a bypass, in every worker at once."""
    revoked = service.revoke(name, author(reason), bypass=True)
    if as_json:
        say_json({"name": name, "changed": revoked})
    else:
        say(f"bypass {name} is {'revoked' if revoked else 'already revoked'}")
