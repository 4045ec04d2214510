"""What a shell sees. Each group of commands is loaded where it is asked for."""

from __future__ import annotations

from importlib import import_module

import click
from flask import Flask
from flask.cli import AppGroup, FlaskGroup, ScriptInfo

GROUPS = ("components", "history", "maintenance", "settings", "tokens")
FOREIGN = {"db": "migrating", "openapi": "served"}  # the commands of extensions, and the module that brings each


class Commands(AppGroup):
    """The commands of the application."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *GROUPS, *FOREIGN})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in GROUPS:
            group: click.Command = import_module(f".{cmd_name}", __package__).group
            return group
        if super().get_command(ctx, cmd_name) is None:
            _load(ctx.ensure_object(ScriptInfo).load_app(), cmd_name)
        return super().get_command(ctx, cmd_name)


def _load(app: Flask, name: str) -> None:
    """Load what may have this command: a further extension is one of the web side."""
    import_module(f"..{FOREIGN.get(name, 'served')}", __package__).init_app(app)


def is_starting() -> bool:
    """Whether the `flask` program loads the application for one of its commands.

    For `run`, `routes` and `shell`, which are Flask's own, the context is theirs: they get the whole application.
    """
    context = click.get_current_context(silent=True)
    return context is not None and isinstance(context.command, FlaskGroup)


def init_app(app: Flask) -> None:
    """Add the commands."""
    app.cli = Commands(commands=app.cli.commands)
