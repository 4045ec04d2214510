"""What a refused request is answered with, made ready once per state: a problem document or the page, by Accept."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import Flask

from ..errors import HTML, PROBLEM, StateUnknown, problem, wants_html
from ..settings.schemas import timestamp
from .policy import Maintenance

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The two bodies, and the headers that both carry."""

    document: bytes
    page: bytes
    headers: tuple[tuple[str, str], ...]

    def answer(self, accept: str) -> tuple[bytes, Headers]:
        """Body and headers for a request's Accept header."""
        body, content_type = (self.page, HTML) if wants_html(accept) else (self.document, PROBLEM)
        return body, [("Content-Type", content_type), *self.headers]


def refuse_for_maintenance(app: Flask, maintenance: Maintenance) -> Refusal:
    """The refusal while this maintenance is in force."""
    until = maintenance.until and timestamp(maintenance.until)
    since = maintenance.since and timestamp(maintenance.since)
    detail = maintenance.message or "The service is in maintenance."
    page = app.jinja_env.get_template("maintenance.html").render(message=maintenance.message, until=until)
    return Refusal(
        problem(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance", detail, mode=maintenance.mode, since=since, until=until),
        page.encode(),
        _headers(str(app.config["RETRY_AFTER"]), ("X-Maintenance-Mode", maintenance.mode)),
    )


def refuse_for_unknown_state(app: Flask, error: StateUnknown) -> Refusal:
    """The refusal of a process that has never seen the database's state."""
    page = app.jinja_env.get_template("error.html").render(title="Service unavailable", detail="Try again in a moment.")
    return Refusal(
        problem(error.status, error.code, error.detail), page.encode(), _headers(error.headers["Retry-After"])
    )


def _headers(retry_after: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", retry_after), ("Cache-Control", "no-store"), ("Vary", "Accept"), *more)
