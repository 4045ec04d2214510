"""What `/api/v1/tokens` reads and answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Length, OneOf

from ..fields import AbsoluteMoment, StrictSchema, StrictString, Timestamp, with_timestamps
from . import service
from .tokens import BYPASS, SCOPES

KNOWN = (*SCOPES, BYPASS)


class Scopes(fields.List[Any]):
    """A list of one or more scopes; what is wrong with any of them is told of the list."""

    def __init__(self, **options: Any) -> None:
        super().__init__(StrictString(validate=OneOf(KNOWN)), validate=Length(min=1), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except ValidationError as error:
            if not isinstance(value, list):
                raise
            raise ValidationError(f"Expected scopes of these: {', '.join(KNOWN)}.") from error


class NewTokenSchema(StrictSchema):
    """A token as a caller wants it."""

    name = StrictString(required=True)
    scopes = Scopes(required=True)
    components = fields.List(StrictString(), load_default=None, allow_none=True)
    expires_at = AbsoluteMoment(load_default=None, allow_none=True)


class TokenSchema(StrictSchema):
    """A token in force. `token`, and for a bypass `link`, are shown once, when it is made."""

    name = fields.String()
    id = fields.String()
    scopes = Scopes()
    components = fields.List(fields.String(), allow_none=True)
    created_at = Timestamp()
    created_by = fields.String()
    expires_at = Timestamp(allow_none=True)
    token = fields.String()
    link = fields.String()


class TokensSchema(StrictSchema):
    """Every token and bypass in force, oldest first."""

    tokens = fields.List(fields.Nested(TokenSchema))


def dump_token(token: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a token's row as JSON shows it, without anything secret."""
    scopes = [BYPASS] if service.is_bypass(token) else str(token["scopes"]).split()
    shown = {name: token[name] for name in ("name", "id")} | {"scopes": scopes}
    limits = token["components"]
    shown |= {"components": None if limits is None else limits.split()}
    shown |= {name: token[name] for name in ("created_at", "created_by")}
    return with_timestamps({**shown, "expires_at": service.expiry(token)})
