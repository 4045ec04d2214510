"""What an application has that serves requests, and that a command starts sooner without."""

from __future__ import annotations

from flask import Flask

from . import migrating, panel, web
from .ops import health, logs


def init_app(app: Flask) -> None:
    """Add it to an application that has the rest, once."""
    if "served" in app.extensions:
        return
    app.extensions["served"] = True
    migrating.init_app(app)
    web.init_app(app)
    panel.init_app(app)
    logs.init_app(app)
    health.init_app(app)
