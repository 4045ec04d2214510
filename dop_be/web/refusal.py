"""The answer to a refused request, made once per state: a problem document or the page, by Accept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask

from ..documents import PROBLEM, problem
from ..errors import StateUnknown
from ..maintenance.policy import Maintenance, retry_after
from ..settings.models import MODES
from .errors import wants_html
from .pages import HTML, Page, facts, page

Headers = list[tuple[str, str]]
COMMON = {"Cache-Control": "no-store", "Vary": "Accept", "X-Content-Type-Options": "nosniff"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The two bodies, their headers, those of the page, and the seconds to wait at a Unix time."""

    document: bytes
    page: bytes
    headers: Mapping[str, str]
    page_headers: Mapping[str, str]
    wait: Callable[[float], int]
    mode: str = MODES[0]

    def answer(self, accept: str, now: float) -> tuple[bytes, Headers]:
        """Return body and headers for a request's Accept header at a Unix time."""
        headers = {**self.headers, "Retry-After": str(self.wait(now))}
        if wants_html(accept):
            return self.page, list({"Content-Type": HTML, **headers, **self.page_headers}.items())
        return self.document, list({"Content-Type": PROBLEM, **headers}.items())


class Refusals:
    """Makes the refusals of one application, with the team's own page where there is one that renders."""

    def __init__(self, app: Flask) -> None:
        self._waiting = {"default": app.config["RETRY_AFTER"], "spread": app.config["RETRY_SPREAD"]}
        with app.app_context():
            self._error_page, self._page = page("error.html"), page("maintenance.html")
        self._own = _own_page(app, app.config["MAINTENANCE_TEMPLATE"])

    def for_maintenance(
        self, maintenance: Maintenance, component: str | None = None, title: str | None = None
    ) -> Refusal:
        """Return the refusal while this maintenance is in force, for the platform or a component with this title."""
        known = facts(maintenance, component=title)
        detail = maintenance.message or f"{title or 'The service'} is in maintenance."
        times = {"mode": maintenance.mode, "since": known["since"], "until": known["until"], "component": component}
        body, headers = self._rendered(known)
        return Refusal(
            problem(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance", detail, **times),
            body.encode(),
            {**COMMON, "X-Maintenance-Mode": maintenance.mode},
            headers,
            partial(retry_after, maintenance.since, maintenance.until, **self._waiting),
            maintenance.mode,
        )

    def for_unknown_state(self, error: StateUnknown) -> Refusal:
        """Return the refusal of a process that has not read the database yet."""
        body = self._error_page.render({"title": "Service unavailable", "detail": "Try again in a moment."})
        document = problem(error.status, error.code, error.detail)
        wait = int(error.headers["Retry-After"])
        return Refusal(document, body.encode(), {**COMMON, **error.headers}, self._error_page.headers, lambda _: wait)

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
