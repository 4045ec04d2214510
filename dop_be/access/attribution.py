"""What a request says about itself beside its token: its id, and why it changes something."""

from __future__ import annotations

import re
import uuid
from urllib.parse import unquote

from flask import request
from marshmallow import ValidationError
from marshmallow.validate import Length, Regexp

from ..errors import InvalidInput
from ..fields import StrictString

REASON_LENGTH = 500
REASON = StrictString(
    validate=[
        Length(max=REASON_LENGTH),
        Regexp(r"[^\x00-\x1f\x7f-\x9f]*\Z", error="Contains a control character."),
    ]
)
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,199}")
UNREADABLE = "\ufffd"  # what unquote puts where bytes are not UTF-8
PERCENT_ENCODED = re.compile(r"(?:[ -$&-~]|%[0-9A-Fa-f]{2})*")  # printable ASCII, and % only before two digits


def checked_reason(text: str | None, field: str) -> str | None:
    """A reason as it is recorded; None where it is empty.

    Raises:
        InvalidInput: about `field`, for what is no storable text of up to REASON_LENGTH characters on one line.
    """
    try:
        return REASON.deserialize((text or "").strip()) or None
    except ValidationError as error:
        raise InvalidInput({field: list(error.messages)}) from error


def change_reason() -> str | None:
    """The request's X-Change-Reason: UTF-8, percent-encoded outside ASCII.

    Raises:
        InvalidInput: it is not that, or too long.
    """
    header = request.headers.get("X-Change-Reason", "")
    text = unquote(header) if PERCENT_ENCODED.fullmatch(header) else UNREADABLE
    if UNREADABLE in text:
        raise InvalidInput({"X-Change-Reason": ["Not UTF-8, percent-encoded outside ASCII (and % as %25)."]})
    return checked_reason(text, "X-Change-Reason")


def request_id() -> str:
    """The request's X-Request-ID where it is well formed, otherwise one made for it; made only when asked for."""
    if (known := request.environ.get("dop_be.request_id")) is None:
        given = request.headers.get("X-Request-ID", "")
        known = given if WELL_FORMED_ID.fullmatch(given) else uuid.uuid4().hex
        request.environ["dop_be.request_id"] = known
    return str(known)
