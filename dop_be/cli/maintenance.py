"""`flask maintenance …`: the switch and the planned windows for a shell, which works with every web process down."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ..errors import InvalidInput
from ..fields import parse, timestamp
from ..maintenance import service
from ..maintenance import windows as planning
from ..maintenance.policy import Maintenance
from ..maintenance.schedule import Occurrence, Window, current
from ..maintenance.schemas import SwitchSchema, WindowSchema
from ..settings.models import MESSAGE_LENGTH, MODES
from . import bypass
from .commands import DURATION, END, Group, author, current_state, options, reason_option, say

IN_MAINTENANCE = 1
MOST_SHOWN = 10  # windows that `off` names; SQL may have planned thousands
STAYS = "; the switch is on too, so it does not end by itself"

group = Group("maintenance", help="Turn maintenance on and off, plan it, and see what is in force.")
group.add_command(bypass.group)
mode_option = click.option("--mode", type=click.Choice(MODES), help=f"What is refused; {MODES[0]} unless named.")
message_option = click.option("--message", help=f"What visitors are told, up to {MESSAGE_LENGTH} characters.")


@group.command("on")
@mode_option
@message_option
@click.option("--for", "duration", type=DURATION, help="End by itself after this time, such as 30m, 2h or 1d.")
@reason_option
def on(mode: str | None, message: str | None, duration: timedelta | None, reason: str | None) -> None:
    """Turn maintenance on, until it is turned off or for a time. While it is on, only what is named changes."""
    named = {name: value or None for name, value in {"mode": mode, "message": message}.items() if value is not None}
    with options(until="--for", message="--message"):
        wanted = parse(SwitchSchema(), {"active": True, **named})
        switched = {name: wanted[name] for name in ("active", *named)}
        outcome = service.switch(author(reason), until=duration or service.STAYS, **switched)
    already = "" if outcome.changed else "already "
    stays = STAYS if duration and outcome.phase.maintenance.until is None else ""
    say(f"maintenance is {already}{described(outcome.phase.maintenance)}{stays}")


@group.command("off")
@reason_option
def off(reason: str | None) -> None:
    """Turn maintenance off, and end the windows that are open."""
    outcome = service.switch(author(reason), active=False)
    shown, more = outcome.ended[:MOST_SHOWN], len(outcome.ended) - MOST_SHOWN
    ended = "".join(f"; ended window {_occurrence(occurrence)}" for occurrence in shown)
    rest = f"; and {more:,} more" if more > 0 else ""
    say(f"maintenance is {'off' if outcome.changed else 'already off'}{ended}{rest}")


@group.command("status")
@click.option("--json", "as_json", is_flag=True, help="As the API answers.")
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> None:
    """Say what is in force; exit code 0 open, 1 in maintenance, 2 anything else."""
    snapshot, now = current_state()
    phase = snapshot.at(now)
    if as_json:
        click.echo(phase.document.body, nl=False)
    else:
        say(f"maintenance is {described(phase.maintenance)}")
    ctx.exit(IN_MAINTENANCE if phase.maintenance.active else 0)


@group.command("schedule")
@click.argument("starts_at", metavar="START")
@click.argument("ends_at", metavar="END")
@click.option("--every", "rrule", metavar="RRULE", help="How it recurs, such as FREQ=WEEKLY;BYDAY=SU (RFC 5545).")
@click.option(
    "--tz", "timezone", metavar="ZONE", help="The zone whose clock START and END are on; needed without offsets."
)
@mode_option
@message_option
@reason_option
def schedule(reason: str | None, **given: str | None) -> None:
    """Plan a window from START to END, such as 2026-12-01T02:00, or with an offset 2026-12-01T02:00:00+01:00."""
    with options(starts_at="START", ends_at="END", rrule="--every", timezone="--tz", message="--message"):
        planned = parse(WindowSchema(), {name: value for name, value in given.items() if value is not None})
        if "timezone" not in planned:
            _check_offsets(planned)
        window, now = service.schedule(author(reason), **planned)
    say(f"planned window {_window(window, now)}")


def _check_offsets(planned: dict[str, Any]) -> None:
    for name in ("starts_at", "ends_at"):
        if planned[name].tzinfo is None:
            raise InvalidInput({name: ["A time without an offset needs --tz, such as --tz Europe/Berlin."]})


@group.command("windows")
def windows() -> None:
    """List the planned windows, each with its next time."""
    snapshot, now = current_state()
    for window in snapshot.windows:
        say(_window(window, datetime.fromtimestamp(now, UTC)))


@group.command("extend")
@click.argument("until", metavar="TIME", type=END)
@click.argument("identifier", metavar="[ID]", type=click.UUID, required=False)
@reason_option
def extend(until: timedelta | datetime, identifier: uuid.UUID | None, reason: str | None) -> None:
    """Move the end of the window that is open, or of ID: +30m later, or to a TIME such as 2026-12-01T05:00:00+01:00.

    Of a window that recurs, the end of the time that is open moves, and no other.
    """
    with options(ends_at="TIME"):
        done = planning.extend(author(reason), until, identifier)
    series = f"; window {done.series.id} recurs as before" if done.series else ""
    say(f"{'moved the end of' if done.changed else 'already so:'} window {_window(done.window, done.now)}{series}")


@group.command("cancel")
@click.argument("identifier", metavar="ID", type=click.UUID)
@reason_option
def cancel(identifier: uuid.UUID, reason: str | None) -> None:
    """Cancel a window and, where it recurs, all of its times; end it where it is open."""
    window, now = service.cancel(author(reason), identifier)
    if window is None:
        say(f"window {identifier} is already cancelled")
    else:
        say(f"cancelled window {_window(window, now)}")


def described(maintenance: Maintenance) -> str:
    """Return what is in force, in half a line."""
    if not maintenance.active:
        return "off"
    since = f" since {timestamp(maintenance.since)}" if maintenance.since else ""
    until = f" until {timestamp(maintenance.until)}" if maintenance.until else ""
    message = f": {maintenance.message}" if maintenance.message else ""
    return f"on ({maintenance.mode}){since}{until}{message}"


def _window(window: Window, now: datetime) -> str:
    found = current(window, now)
    if found is None:
        return f"{window.id}  over"
    rule = f"  every {window.rrule} in {window.timezone}" if window.rrule else ""
    state = "  open" if found.is_open(now) else ""
    return f"{_occurrence(found)}{state}{rule}{f': {window.message}' if window.message else ''}"


def _occurrence(occurrence: Occurrence) -> str:
    times = f"{timestamp(occurrence.starts_at)} to {timestamp(occurrence.ends_at)}"
    return f"{occurrence.window.id}  {times} ({occurrence.window.mode})"
