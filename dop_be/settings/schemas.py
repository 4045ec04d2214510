"""How settings are read from JSON and written to it: every field comes from its column, with strict types."""

from __future__ import annotations

import json
import numbers
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Range
from marshmallow_sqlalchemy import ModelConverter
from sqlalchemy import BigInteger, Enum, Integer, SmallInteger
from sqlalchemy.sql.elements import KeyedColumnElement

from ..errors import InvalidInput
from .models import shown

LARGEST_REVISION = 2**31 - 1  # of its column


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


class StrictFloat(fields.Float):
    """A finite JSON number."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class StrictString(fields.String):
    """Text that a database can keep: no NUL and no lone surrogate."""

    default_error_messages = {"unstorable": "Contains a NUL character or a lone surrogate."}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self.make_error("unstorable")
        return value


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


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds, so that texts sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
    """The domain error for marshmallow's messages by field, which call a read-only field unknown."""
    read_only = {name for name, field in schema.fields.items() if field.dump_only}
    return InvalidInput({name: ["Read-only field."] if name in read_only else messages[name] for name in messages})


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` words of a command line as JSON would say them; text needs no quotes, `null` is null.

    Raises:
        InvalidInput: no `=`, an unknown or read-only name, or a value that is not one of the column's type.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise InvalidInput({assignment: ["Takes NAME=VALUE."]})
        values[name] = text
        if not isinstance(FIELDS.get(name), StrictString) or text == "null":
            with suppress(ValueError):
                values[name] = json.loads(text)
    return parse(SettingsChangeSchema(), values)


def dump(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON shows them, in the order of their columns."""
    return {name: FIELDS[name].serialize(name, values) for name in FIELDS if name in values}


class _Converter(ModelConverter):
    SQLA_TYPE_MAPPING = {**ModelConverter.SQLA_TYPE_MAPPING, Enum: StrictString}


def _field(column: KeyedColumnElement[Any]) -> fields.Field[Any]:
    options: dict[str, Any] = {"dump_only": bool(column.info.get("read_only"))}
    for kind, bits in ((SmallInteger, 16), (BigInteger, 64), (Integer, 32)):
        if isinstance(column.type, kind):
            options["validate"] = Range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            break
    field: fields.Field[Any] = _Converter(schema_cls=StrictSchema).column2field(column, **options)
    return field


class HistoryQuerySchema(StrictSchema):
    """Which page of the history; `before` is a revision, exclusive."""

    limit = fields.Integer(load_default=50, validate=Range(1, 200))
    before = fields.Integer(load_default=None, validate=Range(1, LARGEST_REVISION))


class RevertSchema(StrictSchema):
    """Which revision to go back to."""

    revision = StrictInteger(required=True, validate=Range(1, LARGEST_REVISION))


FIELDS = {column.key: _field(column) for column in shown()}
SettingsSchema = StrictSchema.from_dict(FIELDS, name="Settings")
SettingsChangeSchema = StrictSchema.from_dict(FIELDS, name="SettingsChange")
PUBLIC = frozenset(column.key for column in shown() if column.info.get("public"))
