"""`flask maintenance …`: the switch for a shell, which works with every web process down."""

from __future__ import annotations

import click
from flask import Flask

from ..commands import Group, attribution, current_state, reason_option
from ..settings.models import MESSAGE_LENGTH, MODES
from ..settings.schemas import parse, timestamp
from . import service
from .policy import Maintenance, in_force
from .schemas import SwitchSchema

IN_MAINTENANCE = 1

group = Group("maintenance", help="Turn maintenance on and off, and see what is in force.")


@group.command("on")
@click.option("--mode", type=click.Choice(MODES), default=MODES[0], show_default=True, help="What is refused.")
@click.option("--message", help=f"What visitors are told, up to {MESSAGE_LENGTH} characters.")
@reason_option
def on(mode: str, message: str | None, reason: str | None) -> None:
    """Turn maintenance on."""
    wanted = parse(SwitchSchema(), {"active": True, "mode": mode, "message": message})
    change = service.switch(attribution(reason), **wanted)
    already = "" if change.names else "already "
    click.echo(f"maintenance is {already}{described(in_force(change.after))}")


@group.command("off")
@reason_option
def off(reason: str | None) -> None:
    """Turn maintenance off."""
    change = service.switch(attribution(reason), active=False)
    click.echo(f"maintenance is {'off' if change.before['is_maintain'] else 'already off'}")


@group.command("status")
@click.option("--json", "as_json", is_flag=True, help="As the API answers.")
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> None:
    """Say what is in force; exit code 0 open, 1 in maintenance, 2 anything else."""
    snapshot = current_state()
    if as_json:
        click.echo(snapshot.maintenance_document.body, nl=False)
    else:
        click.echo(f"maintenance is {described(snapshot.maintenance)}")
    ctx.exit(IN_MAINTENANCE if snapshot.maintenance.active else 0)


def described(maintenance: Maintenance) -> str:
    """What is in force, in half a line."""
    if not maintenance.active:
        return "off"
    since = f" since {timestamp(maintenance.since)}" if maintenance.since else ""
    message = f": {maintenance.message}" if maintenance.message else ""
    return f"on ({maintenance.mode}){since}{message}"


def init_app(app: Flask) -> None:
    app.cli.add_command(group)
