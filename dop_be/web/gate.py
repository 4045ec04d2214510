"""The gate refuses requests during maintenance: the application's own and, at `/gate`, those a proxy asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import EnvironHeaders

from ..errors import StateUnknown
from ..live import Live
from ..live.snapshot import Phase
from ..maintenance.policy import lets_through
from .exemption import counted_method, exempt, is_exempt
from .http import EXPOSED_HEADERS
from .refusal import Headers, Refusal, Refusals
from .visitors import carries_token, comes_from

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

OPEN: Headers = [("Content-Length", "0"), ("Cache-Control", "no-store")]
ANNOUNCEMENT = "X-Maintenance-Starts"


class Gate:
    """Decides about requests by the snapshot, and keeps the answer to refused ones."""

    def __init__(self, app: Flask, live: Live) -> None:
        self._app, self._live = app, live
        self._refusals = Refusals(app)
        self._networks, self._hops = app.config["BYPASS_NETWORKS"], app.config["TRUSTED_PROXY_HOPS"]
        self._kept: tuple[Phase, Refusal] | None = None

    def refusal(self, environ: WSGIEnvironment, method: str, now: datetime) -> Refusal | None:
        """The answer to a request that is not let through, None for one that is.

        `method` is the one that the request counts as, which need not be the one in `environ`.
        """
        snapshot = self._live.snapshot
        if snapshot is None:
            try:
                snapshot = self._live.require()
            except StateUnknown as error:
                return None if self._app.config["FAIL_OPEN"] else self._refusals.for_unknown_state(error)
        phase = snapshot.timeline.at(now.timestamp())
        if lets_through(phase.maintenance, method, preflight=is_preflight(environ, method)):
            return None
        if carries_token(environ, snapshot.bypasses, now) or comes_from(self._networks, environ, self._hops):
            return None
        kept = self._kept  # both at once, since threads may see different phases when one ends
        if kept is None or kept[0] is not phase:
            kept = self._kept = (phase, self._refusals.for_maintenance(phase.maintenance))
        return kept[1]

    def check(self) -> Response | None:
        """The application's own `before_request` check; gated is whatever is not exempt, 404s included."""
        snapshot = self._live.snapshot
        if snapshot is not None and not snapshot.maintenance.active:
            return None
        method = request.environ["REQUEST_METHOD"]  # as it was sent; methods are case-sensitive (RFC 9110 section 9.1)
        route = (self._app, request.endpoint, request.blueprints, method)
        if is_exempt(*route):
            return None
        now = datetime.now(UTC)
        refusal = self.refusal(request.environ, counted_method(*route), now)
        if refusal is None:
            return None
        body, headers = refusal.answer(request.headers.get("Accept", ""), now)
        return Response(body, 503, headers)

    def announced(self) -> str | None:
        """When the next window starts, where that is soon enough to tell."""
        snapshot = self._live.snapshot
        return snapshot.phase.announced if snapshot is not None else None


class GateEndpoint:
    """`/gate`, answered below Flask, since every request of a platform may pass it; other paths go on to Flask.

    The original method is taken from X-Forwarded-Method and nothing else, so that no client can choose it in a header
    that the proxy does not overwrite.
    """

    def __init__(self, gate: Gate, app: Flask) -> None:
        self._gate, self._inner = gate, app.wsgi_app
        self._cors = get_cors_options(app, {"expose_headers": EXPOSED_HEADERS}) if app.config["CORS_ORIGINS"] else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path != "/gate" and (not path.startswith("/gate/") or path.startswith("/gate/bypass/")):
            starts_at = self._gate.announced()
            return self._inner(environ, announcing(start_response, starts_at) if starts_at else start_response)
        method = environ.get("HTTP_X_FORWARDED_METHOD") or environ["REQUEST_METHOD"]
        now = datetime.now(UTC)
        refusal = self._gate.refusal(environ, method, now)
        if refusal is None:
            starts_at = self._gate.announced()
            start_response("200 OK", [*OPEN, *([(ANNOUNCEMENT, starts_at)] if starts_at else [])])
            return []
        body, headers = refusal.answer(environ.get("HTTP_ACCEPT", ""), now)
        headers += [("Content-Length", str(len(body))), *self._cors_headers(environ)]
        denied = "deny=403" in environ.get("QUERY_STRING", "").split("&")
        start_response("403 FORBIDDEN" if denied else "503 SERVICE UNAVAILABLE", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _cors_headers(self, environ: WSGIEnvironment) -> Headers:
        if self._cors is None:
            return []
        headers = get_cors_headers(self._cors, EnvironHeaders(environ), "GET")
        return [(name, str(value)) for name, value in headers.items(multi=True)]


def announcing(start_response: StartResponse, starts_at: str) -> StartResponse:
    """A `start_response` that tells of the next window on every answer but a refusal: below Flask it costs least."""

    def start(status: str, headers: Headers, exc_info: Any = None, /) -> Callable[[bytes], object]:
        told = headers if status.startswith("503") else [*headers, (ANNOUNCEMENT, starts_at)]
        return start_response(status, told, exc_info)

    return start


def is_preflight(environ: WSGIEnvironment, method: str) -> bool:
    """Whether this is a CORS preflight (Fetch standard, "CORS-preflight request")."""
    return method == "OPTIONS" and "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def init_app(app: Flask) -> None:
    gate = Gate(app, app.extensions["live"])
    app.extensions["gate"] = gate
    app.before_request(gate.check)
    # Whether a function is a coroutine is looked at once, not with each request; bounded, since closures come anew.
    app.ensure_sync = lru_cache(maxsize=1024)(app.ensure_sync)  # type: ignore[method-assign]
    exempt(app.view_functions["static"])
    app.wsgi_app = GateEndpoint(gate, app)  # type: ignore[method-assign]  # as Flask documents
