"""How requests are read and documents answered: strict JSON bodies, preconditions, conditional answers."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from flask import Flask, Response, current_app, request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix

from ..documents import Document, encode
from ..errors import InvalidInput, NotJSON, RevisionRequired, TooLarge, UnsupportedMediaType
from ..fields import invalid
from ..history.service import checked_reason
from ..maintenance.policy import SAFE_METHODS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ETAG = re.compile(r"[0-9]{1,18}(-[0-9a-f]{8})?")  # a revision, with or without the digest of the body
API = "/api/"  # where every path of the API begins
LONGEST_BODY = 16 * 1024  # bytes
TOO_LARGE = f"The body may have {LONGEST_BODY} bytes at most."
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,199}")
UNREADABLE = "\ufffd"  # what unquote puts where bytes are not UTF-8
ADDRESS_WITH_PORT = re.compile(r"(?P<four>[0-9.]+):[0-9]+|\[(?P<six>[^\]]+)\](?::[0-9]+)?")
PERCENT_ENCODED = re.compile(r"(?:[ -$&-~]|%[0-9A-Fa-f]{2})*")  # printable ASCII, and % only before two digits


class StrictParser(FlaskParser):
    """Reads a body as JSON and nothing else, in the contract's order of errors: 415, 413, 400, 422."""

    def load_json(self, req: Any, schema: Schema) -> Any:
        """Return the request's body.

        Raises:
            UnsupportedMediaType, TooLarge, NotJSON: also for what Python's parser lets pass but RFC 8259 does not, and
                for duplicate names, of which one would be lost (section 4).
        """
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("The body must be sent as Content-Type: application/json.")
        try:
            return json.loads(_body().decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
            raise NotJSON(f"The body is not JSON: {error}.") from error

    def handle_error(self, error: ValidationError, req: Any, schema: Schema, **kwargs: Any) -> NoReturn:
        raise invalid(schema, *error.messages.values()) from error  # type: ignore[union-attr]  # webargs: by location


class Blueprint(SmorestBlueprint):
    """A blueprint whose `arguments` are read strictly, and whose views refuse unknown names in a query."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.before_request(_check_query_of_public_views)

    def arguments(self, schema: type[Schema], *, location: str = "json", **options: Any) -> Any:
        """Have a view read its body, or its query, whose names are then the only ones that a caller may send."""
        decorate = super().arguments(schema, location=location, **options)

        def reading(view: Any) -> Any:
            decorated = decorate(view)
            if location == "query":
                decorated.query = frozenset(schema().fields)
            return decorated

        return reading


def _body() -> bytes:
    request.max_content_length = LONGEST_BODY + 1  # one more, since a chunked body is cut off there without a word
    try:
        data = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise TooLarge(TOO_LARGE) from error
    except Exception as error:  # a server's own, such as gunicorn's for chunks that are none
        raise NotJSON("The body cannot be read.") from error
    if len(data) > LONGEST_BODY:
        raise TooLarge(TOO_LARGE)
    if len(data) < (request.content_length or 0):  # RFC 9112 section 8
        raise NotJSON("The body is incomplete.")
    return data


def expected_revisions() -> frozenset[str] | None:
    """Return what If-Match accepts: revisions, or whole ETags, without their quotes; None for `*`.

    Weak and foreign tags match nothing (RFC 9110, 13.1.1).

    Raises:
        RevisionRequired: there is no If-Match.
    """
    if "If-Match" not in request.headers:
        raise RevisionRequired("Send If-Match with the ETag that was read, or * to overwrite whatever is there.")
    if request.if_match.star_tag:
        return None
    return frozenset(tag for tag in request.if_match.as_set() if ETAG.fullmatch(tag or ""))


def expected_tags() -> frozenset[str] | None:
    """Return the ETags, quoted, that an optional If-Match accepts; None for `*` and where there is none."""
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    return frozenset(f'"{tag}"' for tag in request.if_match.as_set())


def preconditions() -> tuple[frozenset[str] | None, frozenset[str]]:
    """Return the quoted ETags, or `*`, of an optional If-Match, None where there is none, and of If-None-Match.

    A weak tag in If-Match matches nothing (RFC 9110 section 13.1.1); in If-None-Match it counts as the strong one.
    """
    tags = {
        name: frozenset(["*"] if found.star_tag else (f'"{tag}"' for tag in found.as_set(include_weak=weak)))
        for name, found, weak in (("If-Match", request.if_match, False), ("If-None-Match", request.if_none_match, True))
    }
    return tags["If-Match"] if "If-Match" in request.headers else None, tags["If-None-Match"]


def change_reason() -> str | None:
    """Return the request's X-Change-Reason: UTF-8, percent-encoded outside ASCII.

    Raises:
        InvalidInput: it is not that, or too long.
    """
    header = request.headers.get("X-Change-Reason")
    if header is None:
        return None
    text = unquote(header) if PERCENT_ENCODED.fullmatch(header) else UNREADABLE
    if UNREADABLE in text:
        raise InvalidInput({"X-Change-Reason": ["Not UTF-8, percent-encoded outside ASCII (and % as %25)."]})
    return checked_reason(text, "X-Change-Reason")


def request_id() -> str:
    """Return the request's X-Request-ID where it is well formed, otherwise one made for it when first asked for."""
    if (known := request.environ.get("dop_be.request_id")) is None:
        given = request.headers.get("X-Request-ID", "")
        known = given if WELL_FORMED_ID.fullmatch(given) else uuid.uuid4().hex
        request.environ["dop_be.request_id"] = known
    return str(known)


def tell_request_id(response: Response) -> Response:
    """Tell a request's id with every answer of the API, and with every answer to a write."""
    if request.path.startswith(API) or request.method not in SAFE_METHODS:
        response.headers["X-Request-ID"] = request_id()
    return response


def answer(document: Document, *, vary: str | None = None) -> Response:
    """Return a document, or 304 where the client has it already."""
    headers = {"ETag": document.etag, "Cache-Control": "no-cache"}
    if vary is not None:
        headers["Vary"] = vary
    if (
        request.method in {"GET", "HEAD"}
        and "If-None-Match" in request.headers
        and request.if_none_match.contains_weak(document.etag.strip('"'))
    ):
        return Response(status=304, headers=headers)
    return Response(document.body, headers=headers, content_type="application/json")


def uncached(body: Mapping[str, Any], *, status: int = 200, etag: str | None = None) -> Response:
    """Return an answer made for this request alone, its members in their order."""
    response = Response(encode(body), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if etag is not None:
        response.headers["ETag"] = etag
    return response


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate name {next(name for name in names if names.count(name) > 1)!r}")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def refuse_unknown_query() -> None:
    """Refuse a query of the API that names what its endpoint does not know: a typing error must not change the answer.

    Raises:
        InvalidInput: naming each such name.
    """
    if request.query_string and request.endpoint and request.path.startswith("/api/v1/"):
        view = current_app.view_functions[request.endpoint]
        known: frozenset[str] = getattr(view, "query", frozenset())
        if unknown := sorted(set(request.args) - known):
            raise InvalidInput(
                {name: [f"Unknown; accepted: {', '.join(sorted(known)) or 'none'}."] for name in unknown}
            )


def _check_query_of_public_views() -> None:
    """Look at the query before views that anyone may read; behind `require` it comes after the token."""
    if request.query_string and not hasattr(current_app.view_functions[request.endpoint or ""], "required_scope"):
        refuse_unknown_query()


def without_port(app: WSGIApplication) -> WSGIApplication:
    """Take port and brackets off the client's address, with which some proxies write it (RFC 7239 section 6)."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if found := ADDRESS_WITH_PORT.fullmatch(environ.get("REMOTE_ADDR", "")):
            environ["REMOTE_ADDR"] = found["four"] or found["six"]
        return app(environ, start_response)

    return call


def init_app(app: Flask) -> None:
    """Tell ids of requests, and believe the proxies in front; last, since it goes around the gate too."""
    app.after_request(tell_request_id)
    if hops := app.config["TRUSTED_PROXY_HOPS"]:
        app.wsgi_app = ProxyFix(without_port(app.wsgi_app), x_for=hops)  # type: ignore[method-assign]
