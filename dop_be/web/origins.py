"""Pages of other origins that may call (Fetch standard, "CORS protocol")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask_cors import CORS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EXPOSED_HEADERS = ["ETag", "Location", "Retry-After", "X-Maintenance-Mode", "X-Maintenance-Starts", "X-Request-ID"]


def cors(app: Flask) -> dict[str, Any]:
    """Return what flask-cors takes: it would read an origin with brackets, which IPv6 addresses have, as a pattern."""
    exact = [re.compile(re.escape(one) + r"\Z") if "[" in one else one for one in app.config["CORS_ORIGINS"]]
    return {"origins": exact, "expose_headers": EXPOSED_HEADERS, "vary_header": False}  # Varying says it of all


class Varying:
    """Says with every answer that it varies by origin: one to a page that may not read it must not be kept for others.

    flask-cors says it only of answers that name an origin.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
            varying = [value for name, value in headers if name.lower() == "vary"]
            others = [header for header in headers if header[0].lower() != "vary"]
            return start_response(status, [*others, ("Vary", ", ".join([*varying, "Origin"]))], exc_info)

        return self._app(environ, start)


def init_app(app: Flask) -> None:
    """Let the pages of CORS_ORIGINS call."""
    if app.config["CORS_ORIGINS"]:
        CORS(app, **cors(app))
        app.wsgi_app = Varying(app.wsgi_app)  # type: ignore[method-assign]
