"""`flask history …`: who changed what, and the one way to shorten that record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click
from flask.cli import with_appcontext

from ..entries import page
from ..fields import timestamp
from ..history import service
from ..history.model import KINDS
from .commands import Command, Group, author, name_default_file, options, reason_option
from .output import json_option, say, say_json, say_rows, value
from .times import moment_of, when

# Of the API, whose next page `next` names.
PATH = "/api/v1/history"
SETTINGS_PATH = "/api/v1/settings/history"

limit_option = click.option(
    "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many entries."
)
before_option = click.option("--before", type=click.IntRange(1), help="Only entries with a lower id than this one.")


@click.group("history", cls=Group, invoke_without_command=True)
@click.option("--kind", type=click.Choice(KINDS), help="Only changes to these.")
@limit_option
@before_option
@json_option
@with_appcontext
@click.pass_context
def group(ctx: click.Context, kind: str | None, limit: int, before: int | None, *, as_json: bool) -> None:
    """Show who changed what, newest first."""
    if ctx.invoked_subcommand is None:
        name_default_file(ctx)
        filtered = f"&kind={kind}" if kind else ""
        _show(f"{PATH}?limit={limit}{filtered}", kind, limit, before, as_json=as_json)


@click.command("history", cls=Command)
@limit_option
@before_option
@json_option
@with_appcontext
def of_settings(limit: int, before: int | None, *, as_json: bool) -> None:
    """Show who changed which setting, newest first."""
    _show(f"{SETTINGS_PATH}?limit={limit}", "settings", limit, before, as_json=as_json)


class Day(click.ParamType[datetime]):
    """A UTC day or time."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date; use 2026-01-31 or 2026-01-31T12:00:00Z.", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@group.command("prune")
@click.option(
    "--before", "moment", required=True, type=Day(), help="Delete the entries from before this UTC day or time."
)
@json_option
@reason_option
def prune(moment: datetime, reason: str | None, *, as_json: bool) -> None:
    """Delete old entries; the settings and the newest entries stay as they are."""
    with options(before="--before"):
        deleted = service.prune(moment, author(reason))
    if as_json:
        say_json({"before": timestamp(moment), "deleted": deleted})
        return
    say(f"deleted {deleted} {'entry' if deleted == 1 else 'entries'} of the history")


def _show(path: str, kind: str | None, limit: int, before: int | None, *, as_json: bool) -> None:
    entries, older = page(limit=limit, before=before, kind=kind)
    if as_json:
        say_json({"changes": entries, "next": None if older is None else f"{path}&before={older}"})
        return
    now = datetime.now(UTC)
    say_rows(_row(entry, now) for entry in entries)


def _row(entry: dict[str, Any], now: datetime) -> tuple[str, ...]:
    """Return who changed what, when and why, in columns."""
    what = f"revision {entry['revision']}" if entry["revision"] else entry["kind"]
    key = f" {entry['key']}" if entry["key"] else ""
    verb = "" if entry["action"] == "update" else f" {entry['action']}"
    changes = ", ".join(
        f"{name}: {_side(each['from'])} -> {_side(each['to'])}" for name, each in entry["changes"].items()
    )
    reason = f"# {entry['reason']}" if entry["reason"] else ""
    who = f"{entry['changed_by']} ({entry['source']})"
    told = f"{changes}  {reason}".strip()  # one column: reasons would begin far to the right
    return str(entry["id"]), when(moment_of(entry["changed_at"]), now), who, f"{what}{key}{verb}", told


def _side(recorded: Any) -> str:
    """Return a recorded value; text in quotes, so that it cannot look like another change."""
    moment = moment_of(recorded)
    return value(moment) if isinstance(moment, datetime) else json.dumps(recorded, ensure_ascii=False)
