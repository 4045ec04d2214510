"""Logs of commands: most write no line, so what formats lines is loaded with the first one."""

from __future__ import annotations

import logging
from importlib import import_module

from flask import Flask

LOGGERS = ("dop_be", "sqlalchemy")  # gunicorn's and Alembic's keep their own handlers and format


class Later(logging.Handler):
    """Gives its place to the service's handler when the first line comes."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self._app = app

    def emit(self, record: logging.LogRecord) -> None:
        handler: logging.Handler = import_module(".logs", __package__).handler(self._app)
        use(handler)
        handler.handle(record)


def use(handler: logging.Handler) -> None:
    """Send the log to a handler; with several apps in one process the last one's counts."""
    for name in LOGGERS:
        logging.getLogger(name).handlers = [handler]


def init_app(app: Flask) -> None:
    """Send the log to stderr, as the service does."""
    use(Later(app))
    logging.getLogger(LOGGERS[0]).setLevel(app.config["LOG_LEVEL"])
