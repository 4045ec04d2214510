"""The answer to a refused request, made once per state: a problem document or the page, by Accept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask

from ..documents import PROBLEM, problem
from ..errors import StateUnknown
from ..maintenance.policy import Maintenance, retry_after
from .errors import wants_html
from .pages import HTML, Page, facts, page

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

    def answer(self, accept: str, now: float) -> tuple[bytes, Headers]:
        """Return body and headers for a request's Accept header at a Unix time."""
        seconds = retry_after(self.until, int(self.headers["Retry-After"]), now)
        headers = {**self.headers, "Retry-After": str(seconds)}
        if wants_html(accept):
            return self.page, list({"Content-Type": HTML, **headers, **self.page_headers}.items())
        return self.document, list({"Content-Type": PROBLEM, **headers}.items())


class Refusals:
    """Makes the refusals of one application, with the team's own page where there is one that renders."""

    def __init__(self, app: Flask) -> None:
        self._retry_after = str(app.config["RETRY_AFTER"])
        with app.app_context():
            self._error_page, self._page = page("error.html"), page("maintenance.html")
        self._own = _own_page(app, app.config["MAINTENANCE_TEMPLATE"])

    def for_maintenance(self, maintenance: Maintenance) -> Refusal:
        """Return the refusal while this maintenance is in force."""
        known = facts(maintenance)
        detail = maintenance.message or "The service is in maintenance."
        times = {"mode": maintenance.mode, "since": known["since"], "until": known["until"]}
        body, headers = self._rendered(known)
        return Refusal(
            problem(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance", detail, **times),
            body.encode(),
            {**COMMON, "Retry-After": self._retry_after, "X-Maintenance-Mode": maintenance.mode},
            headers,
            maintenance.until,
        )

    def for_unknown_state(self, error: StateUnknown) -> Refusal:
        """Return the refusal of a process that has not read the database yet."""
        body = self._error_page.render({"title": "Service unavailable", "detail": "Try again in a moment."})
        document = problem(error.status, error.code, error.detail)
        return Refusal(document, body.encode(), {**COMMON, **error.headers}, self._error_page.headers)

    def _rendered(self, known: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
        if self._own is not None:
            try:
                return self._own.render(known), self._own.headers
            except Exception:
                logger.exception("MAINTENANCE_TEMPLATE fails to render; the built-in page is served")
        return self._page.render(known), self._page.headers


def _own_page(app: Flask, path: Path | None) -> Page | None:
    if path is None:
        return None
    try:
        return Page(app.jinja_env.from_string(path.read_text(encoding="utf-8")))
    except Exception:
        logger.exception("MAINTENANCE_TEMPLATE fails to render; the built-in page stands in for it")
        return None
