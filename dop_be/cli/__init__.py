"""What a shell sees."""

from flask import Flask

from . import bypass, history, maintenance, settings, tokens


def init_app(app: Flask) -> None:
    """Add the commands."""
    for module in (settings, maintenance, bypass, tokens, history):
        module.init_app(app)
