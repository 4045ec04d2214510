"""Turns errors into problem documents (RFC 9457) or HTML pages."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response as BaseResponse

from ..documents import PROBLEM, problem
from ..errors import DomainError
from ..failures import refusal
from .pages import HTML, page

LONGEST_ACCEPT = 500  # characters that are looked at; parsing 8,000 hostile ones takes 20 ms


def wants_html(accept: str) -> bool:
    """Whether an Accept header ranks HTML above JSON (RFC 9110 section 12.5.1); JSON where it has no preference."""
    best = parse_accept_header(accept[:LONGEST_ACCEPT], MIMEAccept).best_match(
        [PROBLEM, "application/json", "text/html"], PROBLEM
    )
    return best == "text/html"


def init_app(app: Flask) -> None:
    app.register_error_handler(DomainError, _domain_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(SQLAlchemyError, _database_error)


def _answer(status: int, code: str, detail: str, headers: Mapping[str, str], **members: Any) -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept", **headers}
    if wants_html(request.headers.get("Accept", "")) and not request.path.startswith("/api/"):
        shown = page("error.html")
        body = shown.render({"title": HTTPStatus(status).phrase, "detail": detail})
        return Response(body, status, {**headers, **shown.headers}, content_type=HTML)
    return Response(problem(status, code, detail, **members), status, headers, content_type=PROBLEM)


def _domain_error(error: DomainError) -> Response:
    return _answer(error.status, error.code, error.detail, error.headers, **error.members)


def _http_error(error: HTTPException) -> BaseResponse:
    status = error.code or 500
    if status < 400:  # a redirect made by the router is an answer, not an error
        return error.get_response()
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    if isinstance(error, InternalServerError):
        return _answer(500, "internal_error", "The server failed; its log says why.", {})
    code = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    return _answer(status, code, error.description or HTTPStatus(status).phrase, headers)


def _database_error(error: SQLAlchemyError) -> Response:
    return _domain_error(refusal(error))
