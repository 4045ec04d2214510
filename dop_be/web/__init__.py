"""What HTTP sees."""

from flask import Flask

from . import bypass, errors, gate, guessing, history, http, maintenance, outer, pages, settings


def init_app(app: Flask) -> None:
    """Serve the API and the gate. The order counts: what wraps the application last sees a request first."""
    errors.init_app(app)
    guessing.init_app(app)
    pages.init_app(app)
    settings.init_app(app)
    maintenance.init_app(app)
    history.init_app(app)
    bypass.init_app(app)
    outer.init_app(app, gate.init_app(app).ask)
    http.init_app(app)
