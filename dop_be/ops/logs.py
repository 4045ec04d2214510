"""Log lines: JSON where nobody reads along on a terminal, with the request's id, and no secret in them."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable

import structlog
from flask import Flask, has_request_context
from structlog.typing import EventDict, WrappedLogger

from ..web.http import request_id
from .later import LOGGERS, use

# Nothing of ours logs these; an error of some library that quotes its input might.
SECRETS = r"\bdop_[0-9a-f]{8}_\w+|(?<=[Bb]earer )[\w.~+/=-]+|(?<=://)[^/\s@]+(?=@)|(?<=/gate/bypass/)[\w-]+"


def init_app(app: Flask) -> None:
    """Send the log to stderr; with several apps in one process the last one's settings win."""
    use(handler(app))
    logging.getLogger(LOGGERS[0]).setLevel(app.config["LOG_LEVEL"])


def handler(app: Flask) -> logging.Handler:
    """Return what writes the log's lines."""
    made = logging.StreamHandler(sys.stderr)
    made.setFormatter(_formatter(app, terminal=sys.stderr.isatty()))
    return made


def _formatter(app: Flask, *, terminal: bool) -> structlog.stdlib.ProcessorFormatter:
    urls = app.config["SQLALCHEMY_DATABASE_URI"], app.config["LISTEN_DATABASE_URI"]
    hide = _redactor(app.config["ADMIN_TOKEN"], app.config["SECRET_KEY"], *(url.password for url in urls))
    render = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_request_id,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([] if terminal else [structlog.processors.format_exc_info]),
            lambda logger, name, event: hide(str(render(logger, name, event))),
        ],
    )


def _add_request_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Look the id up when a line is written, so that a request that writes none costs nothing."""
    if event.get("request_id") is None and has_request_context():
        event["request_id"] = request_id()
    return event


def _redactor(*secrets: str | None) -> Callable[[str], str]:
    """Return a function that blanks these secrets, and what looks like one, in a finished line."""
    # Not a short password, which may be part of any word, of the line's own syntax too.
    known = [re.escape(secret) for secret in secrets if secret and len(secret) >= 8]
    pattern = re.compile("|".join([*known, SECRETS]))
    return lambda line: pattern.sub("[hidden]", line)
