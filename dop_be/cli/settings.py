"""`flask settings …`."""

from __future__ import annotations

import click
from flask import Flask, json

from ..settings import history, service
from ..settings.schemas import LARGEST_REVISION, dump, parse_assignments
from .commands import Group, attribution, current_state, reason_option

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
@reason_option
def assign(assignments: tuple[str, ...], reason: str | None) -> None:
    """Set one or more settings in one change: true, 5, null as in JSON, text as it is."""
    _tell(service.change(parse_assignments(assignments), attribution(reason)))


@group.command("history")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many entries.")
@click.option("--before", type=click.IntRange(1, LARGEST_REVISION), help="Only revisions older than this one.")
@click.option("--json", "as_json", is_flag=True, help="As the API answers.")
def show_history(limit: int, before: int | None, *, as_json: bool) -> None:
    """Show who changed what, newest first."""
    entries = history.page(limit, before)
    if as_json:
        click.echo(json.dumps({"changes": entries}, sort_keys=False))
        return
    for entry in entries:
        changes = ", ".join(
            f"{name}: {json.dumps(sides['from'])} -> {json.dumps(sides['to'])}"
            for name, sides in entry["changes"].items()
        )
        who = f"{entry['changed_by']} ({entry['source']})"
        reason = f"  # {entry['reason']}" if entry["reason"] else ""
        click.echo(f"{entry['revision']}  {entry['changed_at']}  {who}  {changes}{reason}")


@group.command("revert")
@click.argument("revision", type=click.IntRange(1, LARGEST_REVISION))
@reason_option
def revert(revision: int, reason: str | None) -> None:
    """Go back to the values of a revision, in a new one."""
    change, gone = service.revert(revision, attribution(reason))
    _tell(change, f"; no settings any more: {', '.join(gone)}" if gone else "")


def _tell(change: service.Change, more: str = "") -> None:
    before, after = dump(change.before), dump(change.after)
    changes = [f"{name}: {_shown(before[name])} -> {_shown(after[name])}" for name in change.names]
    click.echo(f"revision {change.after['revision']}: {', '.join(changes) or 'nothing to change'}{more}")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def init_app(app: Flask) -> None:
    app.cli.add_command(group)
