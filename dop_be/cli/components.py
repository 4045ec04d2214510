"""`flask components …`: the parts of the platform that can be closed alone."""

from __future__ import annotations

import json

import click

from ..errors import NotFound
from ..maintenance import components as service
from ..maintenance.schemas import dump_window
from ..maintenance.timeline import title
from .commands import Group, author, current_state, options, reason_option
from .output import json_option, say, say_json, say_rows

group = Group("components", help="Name the parts of the platform that can be closed alone.")


@group.command("add")
@click.argument("name")
@click.option("--title", "shown", help="What people see; without it, the name.")
@json_option
@reason_option
def add(name: str, shown: str | None, reason: str | None, *, as_json: bool) -> None:
    """Make a component, or give one that is there another title."""
    with options(title="--title", name="NAME"):
        row, created = service.put(author(reason), name, title=shown)
    if as_json:
        say_json({"name": row["name"], "title": title(row), "changed": created})
    else:
        say(f"component {name} is {'there' if created else 'already there'}, shown as {title(row)!r}")


@group.command("list")
@json_option
def show(*, as_json: bool) -> None:
    """Show every component with what is in force for it."""
    snapshot, now = current_state()
    listed = snapshot.timeline.listed(now)
    if as_json:
        say_json(listed.body)
        return
    every = json.loads(listed.body)["components"]
    say_rows((each["name"], each["title"], _state(each["maintenance"])) for each in every)


@group.command("remove")
@click.argument("name")
@json_option
@reason_option
def remove(name: str, reason: str | None, *, as_json: bool) -> None:
    """Remove a component, with its windows, which end where they are open; tokens limited to it lose it."""
    windows = service.remove(author(reason), name)
    if windows is None and not service.was_there(name):
        raise NotFound(f"There is no component {name!r}.")
    if as_json:
        cancelled = [dump_window(window) for window in windows or []]
        say_json({"name": name, "cancelled": cancelled, "changed": windows is not None})
        return
    with_them = f"; cancelled {_number(len(windows))}" if windows else ""
    say(f"component {name} is {'already ' if windows is None else ''}removed{with_them}")


def _number(count: int) -> str:
    return "its window" if count == 1 else f"its {count} windows"


def _state(maintenance: dict[str, object]) -> str:
    if not maintenance["active"]:
        return "open"
    return f"closed ({maintenance['mode']}){', as the platform is' if maintenance['platform'] else ''}"
