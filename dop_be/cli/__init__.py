"""What a shell sees."""

from flask import Flask

from . import bypass, history, maintenance, settings, tokens

maintenance.group.add_command(bypass.group)
settings.group.add_command(history.of_settings, "history")


def init_app(app: Flask) -> None:
    """Add the commands."""
    for module in (settings, maintenance, tokens, history):
        app.cli.add_command(module.group)
