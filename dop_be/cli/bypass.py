"""`flask maintenance bypass …`: let somebody through the gate, and see and end that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from flask import Flask, current_app

from ..fields import timestamp
from ..maintenance.bypass import service
from .commands import DURATION, Group, attribution
from .maintenance import group as maintenance

group = Group("bypass", help="Let visitors through during maintenance.")


@group.command("create")
@click.argument("name")
@click.option("--for", "lifetime", type=DURATION, default="2h", show_default=True, help="Such as 30m, 2h or 7d.")
def create(name: str, lifetime: timedelta) -> None:
    """Make a bypass, and show its link and its token this one time."""
    token, expires_at = service.create(name, lifetime, attribution())
    click.echo(f"bypass {name} is valid until {timestamp(expires_at)}; its token is shown this once")
    click.echo(f"link    {current_app.config['PUBLIC_URL']}/gate/bypass/{token}")
    click.echo(f"header  X-Maintenance-Bypass: {token}")


@group.command("list")
def show() -> None:
    """Show every bypass, the expired ones included until the next one is made."""
    rows, now = service.known(), datetime.now(UTC)
    for row in rows:
        ends = "expired" if row.expires_at <= now else "expires"
        created = f"created {timestamp(row.created_at)} by {row.created_by}"
        click.echo(f"{row.name}  {ends} {timestamp(row.expires_at)}  {created}")
    if not rows:
        click.echo("there is no bypass")


@group.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """Take a bypass back."""
    service.revoke(name, attribution())
    click.echo(f"bypass {name} is revoked")


def init_app(app: Flask) -> None:
    maintenance.add_command(group)
