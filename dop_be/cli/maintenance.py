"""`flask maintenance …`: the switch for a shell, which works with every web process down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click

from ..errors import NotFound
from ..fields import parse
from ..live.snapshot import Snapshot
from ..maintenance import service
from ..maintenance.policy import Maintenance, upcoming
from ..maintenance.schedule import expand_all
from ..maintenance.schemas import SwitchSchema, dump_occurrence
from ..maintenance.timeline import Phase
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
@windows.component_option
@click.option("--for", "duration", type=DURATION, help="End by itself after this time, such as 30m, 2h or 1d.")
@json_option
@reason_option
def on(  # noqa: PLR0913 - its options
    mode: str | None,
    message: str | None,
    component: str | None,
    duration: timedelta | None,
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    """Turn maintenance on, until it is turned off or for a time. While it is on, only what is named changes."""
    named = {name: value or None for name, value in {"mode": mode, "message": message}.items() if value is not None}
    with options(until="--for", message="--message"):
        wanted = parse(SwitchSchema(), {"active": True, **named})
        switched = {name: wanted[name] for name in ("active", *named)}
        outcome = service.switch(author(reason), until=duration or service.STAYS, component=component, **switched)
    if as_json:
        _say_json(outcome)
        return
    already = "" if outcome.changed else "already "
    stays = STAYS if duration and outcome.phase.maintenance.until is None else ""
    say(f"{_of(component)} is {already}{described(outcome.phase.maintenance, outcome.now)}{stays}")


@group.command("off")
@windows.component_option
@json_option
@reason_option
def off(component: str | None, reason: str | None, *, as_json: bool) -> None:
    """Turn maintenance off, and end the windows that are open. Components that are closed stay so."""
    outcome = service.switch(author(reason), active=False, component=component)
    if as_json:
        _say_json(outcome)
        return
    shown, more = outcome.ended[:MOST_SHOWN], len(outcome.ended) - MOST_SHOWN
    ended = "".join(f"; ended window {windows.described(occurrence)}" for occurrence in shown)
    rest = f"; and {more:,} more" if more > 0 else ""
    stays = "; the platform is closed, and so the component stays" if outcome.phase.maintenance.active else ""
    left = f"; {_closed(outcome.phase)} closed" if outcome.phase.closed else ""
    say(f"{_of(component)} is {'off' if outcome.changed else 'already off'}{ended}{rest}{stays}{left}")


@group.command("status")
@windows.component_option
@json_option
@click.pass_context
def status(ctx: click.Context, component: str | None, *, as_json: bool) -> None:
    """Say what is in force, and which window is next; exit code 0 open, 1 in maintenance, 2 anything else."""
    snapshot, unix_time = current_state()
    if component is not None and component not in snapshot.components:
        raise NotFound(f"There is no component {component!r}.")
    phase = snapshot.at(unix_time) if component is None else snapshot.timeline.of(component, unix_time)
    if as_json:
        say_json(phase.document.body)
    else:
        _say_status(snapshot, phase, datetime.fromtimestamp(unix_time, UTC))
    ctx.exit(IN_MAINTENANCE if phase.maintenance.active else 0)


def _say_status(snapshot: Snapshot, phase: Phase, now: datetime) -> None:
    say(f"{_of(phase.component)} is {described(phase.maintenance, now)}")
    if phase.closed:
        say(f"{_closed(phase)} closed")
    ours = [window for window in snapshot.windows if window.component in {None, phase.component}]
    if following := upcoming(expand_all(ours, now).occurrences, now):
        identifier = short(following.window.id, (window.id for window in snapshot.windows))
        say(f"the next window is {windows.described(following, now, identifier)}{windows.message(following.window)}")


def _of(component: str | None) -> str:
    """Return what a sentence is about."""
    return "maintenance" if component is None else f"maintenance of {component}"


def _closed(phase: Phase) -> str:
    """Return the subject and verb of a sentence that says which components are closed."""
    return f"{', '.join(sorted(phase.closed))} {'is' if len(phase.closed) == 1 else 'are'}"


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
