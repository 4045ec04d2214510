"""Health and logs."""

from flask import Flask

from . import health, logs


def init_app(app: Flask) -> None:
    """Serve the health checks, and send the log to stderr."""
    logs.init_app(app)
    health.init_app(app)
