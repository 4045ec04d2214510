"""`flask settings …`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from ..settings import service
from ..settings.schemas import LARGEST_REVISION, dump, parse_assignments
from . import history
from .commands import Group, author, confirm, current_state, reason_option
from .output import json_option, say, say_json, say_rows, value, yes_option
from .times import when

group = Group("settings", help="Show and change the system settings.")
group.add_command(history.of_settings, "history")
revision_argument = click.argument("revision", type=click.IntRange(1, LARGEST_REVISION))


@group.command("show")
@json_option
def show(*, as_json: bool) -> None:
    """Show every setting."""
    snapshot, unix_time = current_state()
    if as_json:
        say_json(snapshot.private.body)
        return
    now, values = datetime.fromtimestamp(unix_time, UTC), _for_people(snapshot.settings)
    say_rows((name, when(each, now) if isinstance(each, datetime) else value(each)) for name, each in values.items())


@group.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE …")
@json_option
@reason_option
def assign(assignments: tuple[str, ...], reason: str | None, *, as_json: bool) -> None:
    """Set one or more settings in one change: true, 5, null as in JSON, text as it is."""
    outcome = service.change(parse_assignments(assignments), author(reason))
    _tell(outcome, {"set": {"changed": outcome.changed}}, as_json=as_json)


@group.command("restore")
@revision_argument
@yes_option
@json_option
@reason_option
def restore(revision: int, reason: str | None, *, yes: bool, as_json: bool) -> None:
    """Go back to the values of a revision, in a new one; the maintenance switch stays as it is."""
    confirm(f"Give every setting but the switch the value that it had at revision {revision}?", yes=yes)
    outcome = service.restore(revision, author(reason))
    _tell(outcome, {"restored": _done(revision, outcome)}, as_json=as_json)


@group.command("undo")
@revision_argument
@json_option
@reason_option
def undo(revision: int, reason: str | None, *, as_json: bool) -> None:
    """Take back what one revision changed, in a new one; the maintenance switch stays as it is."""
    outcome = service.undo(revision, author(reason))
    _tell(outcome, {"undone": _done(revision, outcome)}, as_json=as_json)


def _done(revision: int, outcome: service.Outcome) -> dict[str, Any]:
    return {"revision": revision, "changed": outcome.changed, "gone": outcome.gone}


def _tell(outcome: service.Outcome, done: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json({**dump(outcome.after), **done})
        return
    before, after = _for_people(outcome.before), _for_people(outcome.after)
    changes = [f"{name}: {value(before[name])} -> {value(after[name])}" for name in outcome.changed]
    gone = f"; no settings any more: {', '.join(outcome.gone)}" if outcome.gone else ""
    say(f"revision {after['revision']}: {', '.join(changes) or 'nothing to change'}{gone}")


def _for_people(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as JSON shows them, but moments."""
    moments = {name: each for name, each in settings.items() if isinstance(each, datetime)}
    return {**dump(settings), **moments}
