"""What a refused request is answered with, made ready once per state: a problem document or the page, by Accept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from flask import Flask

from ..errors import HTML, PROBLEM, StateUnknown, problem, wants_html
from ..settings.schemas import timestamp
from .policy import Maintenance, retry_after

Headers = list[tuple[str, str]]
COMMON = (("Cache-Control", "no-store"), ("Vary", "Accept"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The two bodies, and what their headers are made of; `retry_after` holds where no end is known."""

    document: bytes
    page: bytes
    retry_after: int
    until: datetime | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, accept: str) -> tuple[bytes, Headers]:
        """Body and headers for a request's Accept header, at this moment."""
        body, content_type = (self.page, HTML) if wants_html(accept) else (self.document, PROBLEM)
        seconds = retry_after(self.until, self.retry_after, time.time())
        return body, [("Content-Type", content_type), ("Retry-After", str(seconds)), *COMMON, *self.headers]


def refuse_for_maintenance(app: Flask, maintenance: Maintenance) -> Refusal:
    """The refusal while this maintenance is in force."""
    until = maintenance.until and timestamp(maintenance.until)
    since = maintenance.since and timestamp(maintenance.since)
    detail = maintenance.message or "The service is in maintenance."
    page = app.jinja_env.get_template("maintenance.html").render(message=maintenance.message, until=until)
    return Refusal(
        problem(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance", detail, mode=maintenance.mode, since=since, until=until),
        page.encode(),
        app.config["RETRY_AFTER"],
        maintenance.until,
        (("X-Maintenance-Mode", maintenance.mode),),
    )


def refuse_for_unknown_state(app: Flask, error: StateUnknown) -> Refusal:
    """The refusal of a process that has never seen the database's state."""
    page = app.jinja_env.get_template("error.html").render(title="Service unavailable", detail="Try again in a moment.")
    document = problem(error.status, error.code, error.detail)
    return Refusal(document, page.encode(), int(error.headers["Retry-After"]))
