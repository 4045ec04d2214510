"""The gate refuses requests during maintenance: the application's own and, at `/gate`, those a proxy asks about."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import EnvironHeaders

from ..documents import PROBLEM, problem
from ..errors import StateUnknown
from ..live.snapshot import Snapshot
from ..maintenance.policy import lets_through
from ..maintenance.timeline import Phase, title
from ..settings.models import MODES
from . import unknown
from .exemption import Declared, declared, exempt
from .origins import cors
from .outer import LOOK, Look, look
from .refusal import Headers, Refusal, Refusals
from .visitors import carries_bypass, comes_from
from .whole import Whole

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# The paths of the question. Below /ask and a component a proxy may append the visitor's path, which changes nothing.
QUESTION = re.compile(r"/gate(?:/deny-403)?(?:/ask(?:/.*)?|/component/([^/]+)(?:/.*)?)?", re.DOTALL)
DENYING = "/gate/deny-403"
SECONDS = re.compile(r"[0-9]{1,9}")
NO_STORE = ("Cache-Control", "no-store")
NO_QUESTION = problem(
    404, "not_found", "Proxies ask at /gate, /gate/ask or /gate/component/<name>, or at the same below /gate/deny-403."
)


class Gate:
    """Decides about requests by what they see, and keeps the answer to refused ones."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._refusals = Refusals(app)
        self._networks, self._hops = app.config["BYPASS_NETWORKS"], app.config["TRUSTED_PROXY_HOPS"]
        self._cors = get_cors_options(app, cors(app)) if app.config["CORS_ORIGINS"] else None
        self._kept: dict[str | None, tuple[Phase, Refusal]] = {}

    def refusal(self, environ: WSGIEnvironment, method: str, component: str | None = None) -> Refusal | None:
        """Return the answer to a request that is not let through, None for one that is.

        `method` is the one that the request counts as, which need not be the one in `environ`. With a component it is
        about that, and so about the platform too.
        """
        seen = look(environ)
        snapshot, phase = seen.wait(), seen.phase
        if snapshot is None or phase is None:
            return None if self._app.config["FAIL_OPEN"] else self._refusals.for_unknown_state(StateUnknown())
        if component is not None:
            phase = snapshot.timeline.of(component, seen.now)
            if phase.component is None:
                unknown.note(component)
        if is_open(phase, environ, method):
            return None
        known = snapshot.tokens
        if carries_bypass(environ, known, seen.now, phase.component) or comes_from(self._networks, environ, self._hops):
            return None
        return self._refusal(phase, snapshot)

    def _refusal(self, phase: Phase, snapshot: Snapshot) -> Refusal:
        kept = self._kept.get(phase.component)  # both at once: threads may see different phases when one ends
        if kept is None or kept[0] is not phase:
            row = snapshot.components.get(phase.component or "")
            shown = title(row) if row is not None else None
            kept = phase, self._refusals.for_maintenance(phase.maintenance, phase.component, shown)
            self._kept[phase.component] = kept
        return kept[1]

    def check(self) -> Response | None:
        """Check a request of the application before its view; gated is whatever is not exempt, 404s included."""
        environ = request.environ
        seen: Look = environ[LOOK]
        if (phase := seen.phase) is not None and not phase.maintenance.active and not phase.closed:
            return None
        method = environ["REQUEST_METHOD"]  # as it was sent; methods are case-sensitive (RFC 9110 section 9.1)
        endpoint = declared(self._app, request.endpoint, request.blueprints, method)
        refusal = None if endpoint.exempt else self._strictest(environ, endpoint)
        if refusal is None:
            return None
        body, headers = refusal.answer(request.headers.get("Accept", ""), seen.now)
        return Response(body, 503, headers)

    def _strictest(self, environ: WSGIEnvironment, endpoint: Declared) -> Refusal | None:
        """Return the answer to a request that one of its components, or else the platform, does not let through."""
        names: list[str | None] = [*sorted(endpoint.components)] or [None]
        refusals = [self.refusal(environ, endpoint.method, name) for name in names]
        return min(filter(None, refusals), key=lambda refusal: refusal.mode != MODES[0], default=None)

    def ask(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a proxy's question, as a WSGI application: let through with 200, refuse with 503 or 403, else 404.

        The original method is taken from X-Forwarded-Method and nothing else, so that no client can choose it in a
        header that the proxy does not overwrite. With `keep=SECONDS` a proxy may keep the answer for a second, and for
        so many more while dop_be is dead (RFC 9111 section 5.2.2.1, RFC 5861 section 4); but only what holds for
        every visitor, never what a bypass or an unknown state decided.
        """
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        component = None
        if path != "/gate":
            if (question := QUESTION.fullmatch(path)) is None:
                unasked = [("Content-Type", PROBLEM), NO_STORE]
                return _send(environ, start_response, "404 NOT FOUND", NO_QUESTION, unasked)
            component = question[1]
        options = dict(part.partition("=")[::2] for part in query.split("&")) if query else {}
        method = environ.get("HTTP_X_FORWARDED_METHOD") or environ["REQUEST_METHOD"]
        refusal = self.refusal(environ, method, component)
        caching = _caching(options["keep"], refusal, environ, method, component) if "keep" in options else NO_STORE
        if refusal is None:
            start_response("200 OK", [("Content-Length", "0"), caching])
            return []
        body, headers = refusal.answer(environ.get("HTTP_ACCEPT", ""), look(environ).now)
        headers = [caching if header == NO_STORE else header for header in headers]
        denied = path.startswith(DENYING) or options.get("deny") == "403"
        status = "403 FORBIDDEN" if denied else "503 SERVICE UNAVAILABLE"
        return _send(environ, start_response, status, body, [*headers, *self._cors_headers(environ)])

    def _cors_headers(self, environ: WSGIEnvironment) -> Headers:
        if self._cors is None:
            return []
        headers = get_cors_headers(self._cors, EnvironHeaders(environ), "GET")
        return [(name, str(value)) for name, value in headers.items(multi=True)]


def is_open(phase: Phase, environ: WSGIEnvironment, method: str) -> bool:
    """Whether a request that counts as this method passes, whoever sends it."""
    return lets_through(phase.maintenance, method, preflight=is_preflight(environ, method))


def is_preflight(environ: WSGIEnvironment, method: str) -> bool:
    """Whether this is a CORS preflight (Fetch standard, "CORS-preflight request")."""
    return method == "OPTIONS" and "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def _caching(
    keep: str, refusal: Refusal | None, environ: WSGIEnvironment, method: str, component: str | None
) -> tuple[str, str]:
    """Return the header that says for how long a proxy may keep an answer: not where it is not everybody's."""
    seen = look(environ)
    everybodys = seen.snapshot is not None
    if seen.snapshot is not None and refusal is None:
        timeline = seen.snapshot.timeline
        phase = timeline.at(seen.now) if component is None else timeline.of(component, seen.now)
        everybodys = is_open(phase, environ, method)
    if everybodys and SECONDS.fullmatch(keep):
        return "Cache-Control", f"max-age=1, stale-if-error={keep}"
    return NO_STORE


def _send(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, body: bytes, headers: Headers
) -> Iterable[bytes]:
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else Whole(body, environ)


def init_app(app: Flask) -> Gate:
    """Check every request of the application, and return the gate for those that a proxy asks about."""
    gate = app.extensions["gate"] = Gate(app)
    app.before_request(gate.check)
    # Whether a function is a coroutine is looked at once, not with each request; bounded, since closures come anew.
    app.ensure_sync = lru_cache(maxsize=1024)(app.ensure_sync)  # type: ignore[method-assign]
    exempt(app.view_functions["static"])
    return gate
