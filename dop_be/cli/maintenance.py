"""`flask maintenance …`: the switch for a shell, which works with every web process down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click

from ..fields import parse
from ..maintenance import service
from ..maintenance.policy import Maintenance, upcoming
from ..maintenance.schedule import expand_all
from ..maintenance.schemas import SwitchSchema, dump_occurrence
from . import bypass, windows
from .commands import DURATION, Group, author, current_state, options, reason_option
from .output import json_option, say, say_json, short
from .times import when

IN_MAINTENANCE = 1
MOST_SHOWN = 10  # windows that `off` names; SQL may have planned thousands
STAYS = "; the switch is on too, so it does not end by itself"

group = Group("maintenance", help="Turn maintenance on and off, plan it, and see what is in force.")
group.add_command(bypass.group)
for command in (windows.schedule, windows.show, windows.extend, windows.cancel):
    group.add_command(command)


@group.command("on")
@windows.mode_option
@windows.message_option
@click.option("--for", "duration", type=DURATION, help="End by itself after this time, such as 30m, 2h or 1d.")
@json_option
@reason_option
def on(mode: str | None, message: str | None, duration: timedelta | None, reason: str | None, *, as_json: bool) -> None:
    """Turn maintenance on, until it is turned off or for a time. While it is on, only what is named changes."""
    named = {name: value or None for name, value in {"mode": mode, "message": message}.items() if value is not None}
    with options(until="--for", message="--message"):
        wanted = parse(SwitchSchema(), {"active": True, **named})
        switched = {name: wanted[name] for name in ("active", *named)}
        outcome = service.switch(author(reason), until=duration or service.STAYS, **switched)
    if as_json:
        _say_json(outcome)
        return
    already = "" if outcome.changed else "already "
    stays = STAYS if duration and outcome.phase.maintenance.until is None else ""
    say(f"maintenance is {already}{described(outcome.phase.maintenance, outcome.now)}{stays}")


@group.command("off")
@json_option
@reason_option
def off(reason: str | None, *, as_json: bool) -> None:
    """Turn maintenance off, and end the windows that are open."""
    outcome = service.switch(author(reason), active=False)
    if as_json:
        _say_json(outcome)
        return
    shown, more = outcome.ended[:MOST_SHOWN], len(outcome.ended) - MOST_SHOWN
    ended = "".join(f"; ended window {windows.described(occurrence)}" for occurrence in shown)
    rest = f"; and {more:,} more" if more > 0 else ""
    say(f"maintenance is {'off' if outcome.changed else 'already off'}{ended}{rest}")


@group.command("status")
@json_option
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> None:
    """Say what is in force, and which window is next; exit code 0 open, 1 in maintenance, 2 anything else."""
    snapshot, unix_time = current_state()
    phase, now = snapshot.at(unix_time), datetime.fromtimestamp(unix_time, UTC)
    if as_json:
        say_json(phase.document.body)
    else:
        say(f"maintenance is {described(phase.maintenance, now)}")
        if following := upcoming(expand_all(snapshot.windows, now).occurrences, now):
            identifier = short(following.window.id, (window.id for window in snapshot.windows))
            say(
                f"the next window is {windows.described(following, now, identifier)}{windows.message(following.window)}"
            )
    ctx.exit(IN_MAINTENANCE if phase.maintenance.active else 0)


def described(maintenance: Maintenance, now: datetime) -> str:
    """Return what is in force, in half a line."""
    if not maintenance.active:
        return "off"
    since = f" since {when(maintenance.since, now)}" if maintenance.since else ""
    until = f" until {when(maintenance.until, now)}" if maintenance.until else ""
    message = f": {maintenance.message}" if maintenance.message else ""
    return f"on ({maintenance.mode}){since}{until}{message}"


def _say_json(outcome: service.Outcome) -> None:
    """Print the state as the API answers a PUT, and whether anything was changed."""
    ended = {"ended": [dump_occurrence(occurrence) for occurrence in outcome.ended]} if outcome.ended else {}
    say_json({**json.loads(outcome.phase.document.body), **ended, "changed": outcome.changed})
