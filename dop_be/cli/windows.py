"""`flask maintenance schedule`, `windows`, `extend` and `cancel`: the planned windows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from flask.cli import with_appcontext

from ..errors import InvalidInput, NotFound
from ..fields import parse
from ..history import service as history
from ..maintenance import service
from ..maintenance import windows as planning
from ..maintenance.schedule import Occurrence, Window, current
from ..maintenance.schemas import WindowSchema, dump_window
from ..settings.models import MESSAGE_LENGTH, MODES
from . import rules
from .commands import END, Command, Failure, author, confirm, current_state, options, reason_option
from .output import json_option, note, say, say_json, say_rows, short, yes_option
from .times import distance, span

BEGINNING = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)
MOST_NAMED = 3  # windows whose ids begin alike

mode_option = click.option("--mode", type=click.Choice(MODES), help=f"What is refused; {MODES[0]} unless named.")
component_option = click.option("--component", metavar="NAME", help="Of this component; without it, the platform.")
message_option = click.option("--message", help=f"What visitors are told, up to {MESSAGE_LENGTH} characters.")


@click.command("schedule", cls=Command)
@click.argument("starts_at", metavar="START")
@click.argument("ends_at", metavar="END")
@click.option(
    "--every",
    "rrule",
    metavar="RRULE",
    help="hourly, daily, weekly, monthly or a rule, in quotes: FREQ=WEEKLY;BYDAY=SU",
)
@click.option(
    "--tz", "timezone", metavar="ZONE", help="The zone whose clock START and END are on; needed without offsets."
)
@mode_option
@message_option
@component_option
@json_option
@reason_option
@with_appcontext
def schedule(reason: str | None, *, as_json: bool, **given: str | None) -> None:
    """Plan a window from START to END, such as 2026-12-01T02:00, or with an offset 2026-12-01T02:00:00+01:00."""
    every = given["rrule"]
    named = {name: value for name, value in given.items() if value is not None}
    with (
        rules.explained(every),
        options(
            starts_at="START",
            ends_at="END",
            rrule="--every",
            timezone="--tz",
            message="--message",
            component="--component",
        ),
    ):
        planned = parse(WindowSchema(), rules.spelled(named))
        if "timezone" not in planned:
            _check_offsets(planned)
        window, now = service.schedule(author(reason), **planned)
    if told := rules.doubt(every, window):
        note(told)
    if as_json:
        say_json(dump_window(window))
    else:
        say(f"planned window {_whole(window, now)}")


def _check_offsets(planned: dict[str, Any]) -> None:
    for name in ("starts_at", "ends_at"):
        if planned[name].tzinfo is None:
            raise InvalidInput({name: ["A time without an offset needs --tz, such as --tz Europe/Berlin."]})


@click.command("windows", cls=Command)
@json_option
@with_appcontext
def show(*, as_json: bool) -> None:
    """List the planned windows, each with its next time."""
    snapshot, unix_time = current_state()
    if as_json:
        say_json(snapshot.planned.body)
        return
    now, ids = datetime.fromtimestamp(unix_time, UTC), [window.id for window in snapshot.windows]
    say_rows(_row(window, now, short(window.id, ids)) for window in snapshot.windows)


def _row(window: Window, now: datetime, identifier: str) -> tuple[str, ...]:
    found = current(window, now)
    if found is None:
        return identifier, "over", "", window.component or "", window.mode, rule(window), window.message or ""
    state = f"open, ends {distance(found.ends_at, now)}" if found.is_open(now) else distance(found.starts_at, now)
    times = span(found.starts_at, found.ends_at)
    return identifier, times, state, window.component or "", window.mode, rule(window), window.message or ""


@click.command("extend", cls=Command)
@click.argument("until", metavar="TIME", type=END)
@click.argument("identifier", metavar="[ID]", required=False)
@json_option
@reason_option
@with_appcontext
def extend(until: timedelta | datetime, identifier: str | None, reason: str | None, *, as_json: bool) -> None:
    """Move the end of the window that is open, or of ID: +30m later, or to a TIME such as 2026-12-01T05:00:00+01:00.

    Of a window that recurs, the end of the time that is open moves, and no other. ID may be its beginning.
    """
    by, (snapshot, _) = author(reason), current_state()
    wanted = chosen(identifier, snapshot.windows) if identifier else None
    with options(ends_at="TIME"):
        done = planning.extend(by, until, wanted)
    if as_json:
        say_json({**dump_window(done.window), "changed": done.changed})
        return
    series = f"; window {done.series.id} recurs as before" if done.series else ""
    say(f"{'moved the end of' if done.changed else 'already so:'} window {_whole(done.window, done.now)}{series}")


@click.command("cancel", cls=Command)
@click.argument("identifier", metavar="ID")
@yes_option
@json_option
@reason_option
@with_appcontext
def cancel(identifier: str, reason: str | None, *, yes: bool, as_json: bool) -> None:
    """Cancel a window and, where it recurs, all of its times; end it where it is open. ID may be its beginning."""
    by, (snapshot, _) = author(reason), current_state()
    wanted = chosen(identifier, snapshot.windows)
    for window in snapshot.windows:
        if window.id == wanted and window.rrule:
            confirm(f"Cancel all times of window {window.id}, {rule(window)}{message(window)}?", yes=yes)
    cancelled, now = service.cancel(by, wanted)
    if as_json:
        say_json({**(dump_window(cancelled) if cancelled else {"id": str(wanted)}), "changed": cancelled is not None})
    elif cancelled is None:
        say(f"window {wanted} is already cancelled")
    else:
        say(f"cancelled window {_whole(cancelled, now)}")


def chosen(text: str, windows: Sequence[Window]) -> uuid.UUID:
    """Return the id that begins so, of a planned window or else of one that is in the history; a whole id as it is.

    Raises:
        Failure: it is no beginning of an id, or of several.
        NotFound: no window was ever known by it.
    """
    beginning = text.strip().lower()
    try:
        return uuid.UUID(beginning)
    except ValueError:
        pass
    if not BEGINNING.fullmatch(beginning):
        raise Failure(f"ID: {text[:40]!r} is no window's id; type its first four characters, or more of them.")
    found = [str(window.id) for window in windows if str(window.id).startswith(beginning)]
    found = found or history.keys("window", beginning, most=MOST_NAMED + 1)
    if not found:
        raise NotFound(f"There is no window {text}.")
    if len(found) > 1:
        named = ", ".join(short(each, found) for each in found[:MOST_NAMED])
        more = " and others" if len(found) > MOST_NAMED else ""
        raise Failure(f"ID: several windows begin with {text}: {named}{more}; type more characters.")
    return uuid.UUID(found[0])


def described(occurrence: Occurrence, now: datetime | None = None, identifier: str | None = None) -> str:
    """Return which window it is, when it is open and, with `now`, how long until then."""
    far = f" ({distance(occurrence.starts_at, now)})" if now else ""
    times = span(occurrence.starts_at, occurrence.ends_at)
    of = f"  {occurrence.window.component}" if occurrence.window.component else ""
    return f"{identifier or occurrence.window.id}  {times}{far}{of}  {occurrence.window.mode}"


def rule(window: Window) -> str:
    """Return how a window recurs; nothing where it does not."""
    return f"every {window.rrule} in {window.timezone}" if window.rrule else ""


def message(window: Window) -> str:
    """Return what visitors are told, for a line's end."""
    return f": {window.message}" if window.message else ""


def _whole(window: Window, now: datetime) -> str:
    found = current(window, now)
    if found is None:
        return f"{window.id}  over"
    shown = described(found) + "  open" if found.is_open(now) else described(found, now)
    return f"{shown}{'  ' if window.rrule else ''}{rule(window)}{message(window)}"
