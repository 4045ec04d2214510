"""Strict JSON types: what is read from users has exactly the right type, and what it says can be stored."""

from __future__ import annotations

import math
import numbers
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields

from .errors import InvalidInput

MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
YEARS = range(2000, 3000)  # what is outside is a slip of the hand, and some of it cannot be told in UTC


class StrictBoolean(fields.Boolean):
    """`true` or `false`; 1 and "yes" are something else."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class StrictInteger(fields.Integer):
    """A whole JSON number, not a boolean, string or fraction."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid", input=value)
        return value


class WrittenInteger(fields.Integer):
    """A whole number in the ASCII digits of a query: Python's int() takes `1_0` and other scripts' digits too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch("-?[0-9]{1,20}", str(value)):
            raise self.make_error("invalid", input=value)
        return int(value)


class StrictFloat(fields.Float):
    """A finite JSON number; what is not finite, as SQL may have stored it, shows as null."""

    def _serialize(self, value: float | None, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return super()._serialize(value, attr, obj, **kwargs) if value is not None and math.isfinite(value) else None

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs) + 0.0  # databases keep no negative zero


class StrictString(fields.String):
    """Text that a database can keep: no NUL and no lone surrogate."""

    default_error_messages = {"unstorable": "Contains a NUL character or a lone surrogate."}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self.make_error("unstorable")
        return value


class Digits(StrictString):
    """A decimal number as a string of digits, so that no reader makes a float of it: `"12.50"`."""

    NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?", re.ASCII)
    default_error_messages = {
        "invalid": 'Not a string of digits such as "-12.50".',
        "range": "Expected up to {whole} digits before the point and {scale} after it.",
    }

    def __init__(self, precision: int, scale: int, **options: Any) -> None:
        super().__init__(**options)
        self.whole, self.scale = precision - scale, scale

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else f"{value:.{self.scale}f}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if (found := self.NUMBER.fullmatch(text)) is None:
            raise self.make_error("invalid")
        whole, fraction = found[2].lstrip("0"), (found[3] or "").rstrip("0")
        if len(whole) > self.whole or len(fraction) > self.scale:
            raise self.make_error("range", whole=self.whole, scale=self.scale)
        sign = "-" if found[1] == "-" and (whole or fraction) else ""
        return Decimal(f"{sign}{whole or 0}.{fraction.ljust(self.scale, '0')}")


class StrictDate(fields.Date):
    """A day, `2026-11-23`."""

    default_error_messages = {"invalid": "Not a date such as 2026-11-23."}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        try:
            if re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
                return date.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise self.make_error("invalid") from error
        raise self.make_error("invalid")


class Timestamp(fields.Field[datetime]):
    """RFC 3339 in UTC with microseconds, `2026-11-23T00:30:00.000000Z`."""

    default_error_messages = {"invalid": "Not an RFC 3339 time with an offset."}

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else timestamp(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.make_error("invalid") from error
        raise self.make_error("invalid")


class Moment(Timestamp):
    """RFC 3339, seconds optional, or the same without an offset, which is read as naive."""

    default_error_messages = {
        "invalid": "Expected RFC 3339, such as 2026-12-01T02:00:00+01:00, or that without the offset."
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or not MOMENT.fullmatch(value):
            raise self.make_error("invalid")
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError as error:
            raise self.make_error("invalid") from error
        if moment.year not in YEARS:
            raise self.make_error("invalid")
        return moment


class AbsoluteMoment(Moment):
    """RFC 3339 with an offset."""

    default_error_messages = {"invalid": "Expected RFC 3339 with an offset, such as 2026-12-01T02:00:00+01:00."}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, attr, data, **kwargs)
        if moment.tzinfo is None:
            raise self.make_error("invalid")
        return moment


def timestamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, always with microseconds, so that texts sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def with_timestamps(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by name, moments as `timestamp` writes them."""
    return {name: timestamp(value) if isinstance(value, datetime) else value for name, value in values.items()}


class StrictSchema(Schema):
    """The base of what is read from users: an object with known fields of exactly the right types."""

    TYPE_MAPPING = {
        bool: StrictBoolean,
        int: StrictInteger,
        float: StrictFloat,
        str: StrictString,
        datetime: Timestamp,
        uuid.UUID: fields.UUID,
    }
    error_messages = {"type": "Not a JSON object."}


def parse(schema: Schema, data: Any) -> dict[str, Any]:
    """Check `data` against `schema`.

    Raises:
        InvalidInput: with every field's errors.
    """
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        raise invalid(schema, error.messages) from error
    return loaded


def invalid(schema: Schema, messages: Any) -> InvalidInput:
    """Return the domain error for marshmallow's messages by field, which call a read-only field unknown."""
    read_only = {name for name, field in schema.fields.items() if field.dump_only}
    return InvalidInput({name: ["Read-only field."] if name in read_only else messages[name] for name in messages})
