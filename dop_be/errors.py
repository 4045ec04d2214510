"""Domain errors, in the words of the domain; web/ and cli/ turn them into answers."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar


class DomainError(Exception):
    """An error reported to the client: a stable `code`, a readable `detail`, and extra members of the document."""

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
    """The state is not the one that If-Match or If-None-Match asks for; `etag` is its own, None where there is none."""

    status, code = HTTPStatus.PRECONDITION_FAILED, "revision_conflict"

    def __init__(self, detail: str, etag: str | None) -> None:
        super().__init__(detail)
        self.headers = {} if etag is None else {"ETag": etag}


class ChangedSince(DomainError):
    """A revision cannot be undone: `fields` were changed again since then."""

    status, code = HTTPStatus.CONFLICT, "changed_since"


class TooLarge(DomainError):
    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"


class UnsupportedMediaType(DomainError):
    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"


class InvalidInput(DomainError):
    """Well-formed input with values that are not accepted; `errors` maps each field to its messages."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items()), errors=errors)
        self.errors = errors


class Taken(InvalidInput):
    """Somebody else has stored the same unique value at the same moment."""


class NameTaken(InvalidInput):
    """A token in force has the name already."""

    status, code = HTTPStatus.CONFLICT, "name_taken"


class RevisionRequired(DomainError):
    status, code = HTTPStatus.PRECONDITION_REQUIRED, "revision_required"


class TooManyAttempts(DomainError):
    status, code = HTTPStatus.TOO_MANY_REQUESTS, "too_many_attempts"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


class DatabaseUnavailable(DomainError):
    """The database did not do a write, or answer a command, in time."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "database_unavailable"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class DatabaseReadOnly(DatabaseUnavailable):
    """The database answers, and takes no write: it is a replica, or is set so."""

    code = "database_read_only"


class SettingsMissing(DatabaseUnavailable):
    """The database answers, but its settings row is missing."""

    code = "settings_missing"


class StateUnknown(DomainError):
    """This process has not read the database yet, so it knows neither settings nor maintenance."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "state_unknown"
    headers: Mapping[str, str] = {"Retry-After": "5"}

    def __init__(self) -> None:
        super().__init__("The database has not been read yet; see the log.")


class UnsupportedColumn(TypeError):
    """A setting has a type of column that dop_be cannot keep; the message is one line that says what is expected."""


def printable(said: str) -> str:
    """Return a text on one line, without lines that repeat and without control characters."""
    lines = dict.fromkeys(said.splitlines())  # libpq repeats itself, with TLS and without
    return " ".join("".join(char if char.isprintable() else " " for char in " ".join(lines)).split())
