"""`flask settings …`."""

from __future__ import annotations

import click
from flask import Flask, json

from ..commands import Group, attribution, current_state
from . import service
from .schemas import dump, parse_assignments

group = Group("settings", help="Show and change the system settings.")


@group.command("show")
@click.option("--json", "as_json", is_flag=True, help="As the API answers.")
def show(*, as_json: bool) -> None:
    """Show every setting."""
    snapshot = current_state()
    if as_json:
        click.echo(snapshot.private.body, nl=False)
        return
    values = dump(snapshot.settings)
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {_shown(value)}")


@group.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE …")
def assign(assignments: tuple[str, ...]) -> None:
    """Set one or more settings in one change: true, 5, null as in JSON, text as it is."""
    change = service.change(parse_assignments(assignments), attribution())
    before, after = dump(change.before), dump(change.after)
    changes = [f"{name}: {_shown(before[name])} -> {_shown(after[name])}" for name in change.names]
    click.echo(f"revision {change.after['revision']}: {', '.join(changes) or 'nothing to change'}")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def init_app(app: Flask) -> None:
    app.cli.add_command(group)
