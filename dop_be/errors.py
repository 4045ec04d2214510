"""Domain errors, and the one place that turns errors into problem documents (RFC 9457) or HTML pages."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from flask import Flask, Response, current_app, json, render_template, request
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response as BaseResponse

PROBLEM = "application/problem+json"
HTML = "text/html; charset=utf-8"
LONGEST_ACCEPT = 500  # characters that are looked at; parsing 8,000 hostile ones takes 20 ms
logger = logging.getLogger(__name__)


class DomainError(Exception):
    """Something the caller is told: a stable `code`, a sentence for people, and further members of the problem."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str]
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members


class NotJSON(DomainError):
    status, code = HTTPStatus.BAD_REQUEST, "not_json"


class Unauthorized(DomainError):
    status, code = HTTPStatus.UNAUTHORIZED, "unauthorized"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="dop_be"'}


class Forbidden(DomainError):
    status, code = HTTPStatus.FORBIDDEN, "forbidden"


class NotFound(DomainError):
    status, code = HTTPStatus.NOT_FOUND, "not_found"


class RevisionConflict(DomainError):
    status, code = HTTPStatus.PRECONDITION_FAILED, "revision_conflict"

    def __init__(self, detail: str, etag: str) -> None:
        super().__init__(detail)
        self.headers = {"ETag": etag}


class TooLarge(DomainError):
    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"


class UnsupportedMediaType(DomainError):
    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"


class InvalidInput(DomainError):
    """Well-formed input that says something that is not accepted; `errors` maps each field to its sentences."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items()), errors=errors)
        self.errors = errors


class RevisionRequired(DomainError):
    status, code = HTTPStatus.PRECONDITION_REQUIRED, "revision_required"


class TooManyAttempts(DomainError):
    status, code = HTTPStatus.TOO_MANY_REQUESTS, "too_many_attempts"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


class DatabaseUnavailable(DomainError):
    """The database did not take a write, or answer a command, within its time."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "database_unavailable"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class SettingsMissing(DatabaseUnavailable):
    """The database is there, but its settings row is not."""

    code = "settings_missing"


class StateUnknown(DomainError):
    """This process has not read the database once yet, so that nothing is known about settings or maintenance."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "state_unknown"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class UnsupportedColumn(TypeError):
    """A setting's column is none that dop_be can keep; the message is one line that says what it takes."""


def problem(status: int, code: str, detail: str, **members: Any) -> bytes:
    """The bytes of a problem document, its title the status phrase as for any about:blank (RFC 9457 section 4.2.1)."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **members}
    return json.dumps(body, separators=(",", ":"), sort_keys=False).encode() + b"\n"


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
        page = render_template("error.html", title=HTTPStatus(status).phrase, detail=detail)
        return Response(page, status, {**headers, **current_app.extensions["page_headers"]}, content_type=HTML)
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
    logger.error("database: %s", one_line(error))
    return _domain_error(DatabaseUnavailable("The database did not answer; nothing was changed."))


def one_line(error: BaseException) -> str:
    """What a database error says, without the statement, its values and DETAIL, which may be somebody's settings."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    diagnosis = getattr(cause, "diag", None)  # of the server, where psycopg2 had an answer from it
    return " ".join(((diagnosis and diagnosis.message_primary) or str(cause)).split()) or type(cause).__name__
