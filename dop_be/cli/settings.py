"""`flask settings …`."""

from __future__ import annotations

import click
from flask import json

from ..settings import service
from ..settings.schemas import LARGEST_REVISION, dump, parse_assignments
from . import history
from .commands import Group, author, current_state, reason_option, say

group = Group("settings", help="Show and change the system settings.")
group.add_command(history.of_settings, "history")
revision_argument = click.argument("revision", type=click.IntRange(1, LARGEST_REVISION))


@group.command("show")
@click.option("--json", "as_json", is_flag=True, help="As the API answers.")
def show(*, as_json: bool) -> None:
    """Show every setting."""
    snapshot, _ = current_state()
    if as_json:
        click.echo(snapshot.private.body, nl=False)
        return
    values = dump(snapshot.settings)
    width = max(map(len, values))
    for name, value in values.items():
        say(f"{name:<{width}}  {_shown(value)}")


@group.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE …")
@reason_option
def assign(assignments: tuple[str, ...], reason: str | None) -> None:
    """Set one or more settings in one change: true, 5, null as in JSON, text as it is."""
    _tell(service.change(parse_assignments(assignments), author(reason)))


@group.command("restore")
@revision_argument
@reason_option
def restore(revision: int, reason: str | None) -> None:
    """Go back to the values of a revision, in a new one; the maintenance switch stays as it is."""
    _tell(service.restore(revision, author(reason)))


@group.command("undo")
@revision_argument
@reason_option
def undo(revision: int, reason: str | None) -> None:
    """Take back what one revision changed, in a new one; the maintenance switch stays as it is."""
    _tell(service.undo(revision, author(reason)))


def _tell(outcome: service.Outcome) -> None:
    before, after = dump(outcome.before), dump(outcome.after)
    changes = [f"{name}: {_shown(before[name])} -> {_shown(after[name])}" for name in outcome.changed]
    gone = f"; no settings any more: {', '.join(outcome.gone)}" if outcome.gone else ""
    say(f"revision {after['revision']}: {', '.join(changes) or 'nothing to change'}{gone}")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
