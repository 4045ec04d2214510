"""What a refused request is answered with, made ready once per state: a problem document or the page, by Accept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask
from jinja2 import Template

from ..errors import HTML, PROBLEM, StateUnknown, problem, wants_html
from ..fields import timestamp
from ..maintenance.policy import Maintenance, retry_after
from ..settings.models import MODES
from .csp import page_headers

Headers = list[tuple[str, str]]
COMMON = {"Cache-Control": "no-store", "Vary": "Accept", "X-Content-Type-Options": "nosniff"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The two bodies, the headers that both carry and those of the page; `until` is the end, where it is known."""

    document: bytes
    page: bytes
    headers: Mapping[str, str]
    page_headers: Mapping[str, str]
    until: datetime | None = None

    def answer(self, accept: str, now: datetime) -> tuple[bytes, Headers]:
        """Body and headers for a request's Accept header."""
        seconds = retry_after(self.until, int(self.headers["Retry-After"]), now.timestamp())
        headers = {**self.headers, "Retry-After": str(seconds)}
        if wants_html(accept):
            return self.page, list({"Content-Type": HTML, **headers, **self.page_headers}.items())
        return self.document, list({"Content-Type": PROBLEM, **headers}.items())


class Refusals:
    """Makes the refusals of one application, with the team's own page where there is one that renders."""

    def __init__(self, app: Flask) -> None:
        self._retry_after = str(app.config["RETRY_AFTER"])
        self._error_page = app.jinja_env.get_template("error.html")
        self._page = app.jinja_env.get_template("maintenance.html")
        self._page_headers = page_headers(samples(self._page))
        self._own = _own_page(app, app.config["MAINTENANCE_TEMPLATE"])
        app.extensions["page_headers"] = self._page_headers

    def for_maintenance(self, maintenance: Maintenance) -> Refusal:
        """The refusal while this maintenance is in force."""
        facts = page_variables(maintenance)
        detail = maintenance.message or "The service is in maintenance."
        times = {"mode": maintenance.mode, "since": facts["since"], "until": facts["until"]}
        page, headers = self._rendered(facts)
        return Refusal(
            problem(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance", detail, **times),
            page.encode(),
            {**COMMON, "Retry-After": self._retry_after, "X-Maintenance-Mode": maintenance.mode},
            headers,
            maintenance.until,
        )

    def for_unknown_state(self, error: StateUnknown) -> Refusal:
        """The refusal of a process that has never seen the database's state."""
        page = self._error_page.render(title="Service unavailable", detail="Try again in a moment.")
        document = problem(error.status, error.code, error.detail)
        return Refusal(document, page.encode(), {**COMMON, **error.headers}, self._page_headers)

    def _rendered(self, facts: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
        if self._own is not None:
            template, headers = self._own
            try:
                return template.render(facts), headers
            except Exception:
                logger.exception("MAINTENANCE_TEMPLATE fails to render; the built-in page is served")
        return self._page.render(facts), self._page_headers


def page_variables(maintenance: Maintenance) -> dict[str, str | None]:
    """What a page's template gets; times are RFC 3339 in UTC, and everything but `mode` may be None."""
    return {
        "message": maintenance.message,
        "mode": maintenance.mode,
        "since": timestamp(maintenance.since) if maintenance.since else None,
        "until": timestamp(maintenance.until) if maintenance.until else None,
    }


def samples(template: Template) -> list[str]:
    """Renderings of a page that show every script and style it may have, and no message."""
    moment = timestamp(datetime(2000, 1, 1, tzinfo=UTC))
    ends = (None, moment)
    return [template.render(message=None, mode=mode, since=moment, until=until) for mode in MODES for until in ends]


def _own_page(app: Flask, path: Path | None) -> tuple[Template, Mapping[str, str]] | None:
    if path is None:
        return None
    try:
        template = app.jinja_env.from_string(path.read_text(encoding="utf-8"))
        return template, page_headers(samples(template))
    except Exception:
        logger.exception("MAINTENANCE_TEMPLATE fails to render; the built-in page stands in for it")
        return None
