"""HTML pages and their headers: self-contained, and held to it by a strict Content-Security-Policy (CSP)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from types import MappingProxyType
from typing import Any

from flask import current_app
from jinja2 import Template

from ..fields import timestamp
from ..maintenance.policy import Maintenance
from ..maintenance.schedule import Occurrence
from ..settings.models import MODES

HTML = "text/html; charset=utf-8"
# The default, which a page extends. Scripts may ask the page's own origin: so a maintenance page learns its end.
POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'none'",
    "style-src": "'none'",
    "img-src": "data:",
    "font-src": "data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


class Page:
    """A template and its headers, which allow just the scripts and styles that stand in it."""

    def __init__(self, template: Template, **policy: str) -> None:
        self._template = template
        self.headers = page_headers((template.render(facts) for facts in SAMPLES), policy)

    def render(self, facts: Mapping[str, Any]) -> str:
        """Return the page; the facts are those of SAMPLES."""
        return self._template.render(facts)


def page(name: str) -> Page:
    """Return a page of the current application by its template's name; it is prepared once."""
    pages: dict[str, Page] = current_app.extensions.setdefault("pages", {})
    if name not in pages:
        pages[name] = Page(current_app.jinja_env.get_template(name))
    return pages[name]


def page_headers(renderings: Iterable[str], policy: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a page that may run the scripts and apply the styles written into these renderings of it.

    They allow by hash (CSP level 3, section 2.3.1). Render without user data: injected scripts then never match a hash.

    Args:
        renderings: showing between them every script and style that the page may have.
        policy: directives by name that extend or replace POLICY's.
    """
    inline = _Inline()
    for rendering in renderings:
        inline.feed(rendering)
    hashes = {f"{tag}-src": " ".join(sorted({_source(text) for text in texts})) for tag, texts in inline.texts.items()}
    directives = {**POLICY, **{name: found for name, found in hashes.items() if found}, **policy}
    value = "; ".join(f"{name} {sources}" for name, sources in directives.items())
    return {"Content-Security-Policy": value, "X-Content-Type-Options": "nosniff"}


def facts(
    maintenance: Maintenance,
    coming: Iterable[Occurrence] = (),
    component: str | None = None,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a page's variables; times are RFC 3339 in UTC, and `message`, `since` and `until` may be None.

    `coming` is what is announced: of each its `starts_at`, `ends_at`, `mode`, `message`, and the title of its component
    by `titles`. `component` is the title of the component that the page is about, None for the platform.
    """
    return {
        "active": maintenance.active,
        "component": component,
        "message": maintenance.message,
        "mode": maintenance.mode,
        "since": timestamp(maintenance.since) if maintenance.since else None,
        "until": timestamp(maintenance.until) if maintenance.until else None,
        "coming": [
            {
                "starts_at": timestamp(one.starts_at),
                "ends_at": timestamp(one.ends_at),
                "mode": one.window.mode,
                "message": one.window.message,
                "component": titles.get(one.window.component or ""),
            }
            for one in coming
        ],
    }


def _samples() -> list[dict[str, Any]]:
    """Return facts with which every script and style of a page shows, and no message."""
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    return [
        {**facts(Maintenance(active, mode, None, None, moment, until, 1)), "title": "", "detail": ""}
        for active in (True, False)
        for mode in MODES
        for until in (None, moment)
    ]


SAMPLES = _samples()


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


class _Inline(HTMLParser):
    """Gathers the contents of script and style elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {"script": [], "style": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag in self.texts and self.cdata_elem == self.lasttag:
            self.texts[self.lasttag][-1] += data
