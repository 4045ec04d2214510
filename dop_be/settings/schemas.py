"""How settings are read from JSON and written to it: every field comes from its column, with strict types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields
from marshmallow.validate import Length, OneOf, Range, Validator
from sqlalchemy import BigInteger, Boolean, Date, Double, Enum, Float, Integer, SmallInteger, String, Text, Uuid
from sqlalchemy.sql.elements import KeyedColumnElement
from sqlalchemy.types import TypeEngine

from ..columns import ExactNumeric, UtcDateTime
from ..documents import Document, document
from ..errors import InvalidInput, UnsupportedColumn
from ..fields import (
    Digits,
    StrictBoolean,
    StrictDate,
    StrictFloat,
    StrictInteger,
    StrictSchema,
    StrictString,
    Timestamp,
    parse,
)
from .models import SHOWN

LARGEST_REVISION = 2**31 - 1  # of its column
BITS: dict[type[TypeEngine[Any]], int] = {SmallInteger: 16, Integer: 32, BigInteger: 64}
FIELD_TYPES: dict[type[TypeEngine[Any]], type[fields.Field[Any]]] = {
    Boolean: StrictBoolean,
    **dict.fromkeys(BITS, StrictInteger),
    **dict.fromkeys((Float, Double), StrictFloat),
    **dict.fromkeys((String, Text, Enum), StrictString),
    Date: StrictDate,
    UtcDateTime: Timestamp,
    Uuid: fields.UUID,
}
NOT_TEXT = (StrictBoolean, StrictInteger, StrictFloat)  # in JSON; every other value is a string
ACCEPTED = (
    "Boolean, SmallInteger, Integer, BigInteger, Float, String(length), Text, Date of sqlalchemy, or ExactNumeric("
    "precision, scale), UtcDateTime, enumeration(name of the column, *values) of dop_be.columns"
)
MOST_DIGITS = 1000  # of PostgreSQL's numeric
# A day away from Python's first and last, so that a server in any time zone shows it as a year that Python has.
MOMENTS = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` words of a command line as JSON would say them; text needs no quotes, `null` is null.

    Raises:
        InvalidInput: no name or no `=`, a name that is given twice, unknown or read-only, or a value that is not one of
            the column's type.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not name or not separator:
            raise InvalidInput({assignment: ["Expected NAME=VALUE."]})
        if name in values:
            raise InvalidInput({name: ["Given twice; give one value."]})
        values[name] = text
        if isinstance(FIELDS.get(name), NOT_TEXT) or text == "null":
            with suppress(ValueError):
                values[name] = json.loads(text)
    return parse(SettingsChangeSchema(), values)


def dump(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON shows them, in the order of their columns."""
    return {name: FIELDS[name].serialize(name, values) for name in FIELDS if name in values}


def _field(column: KeyedColumnElement[Any]) -> fields.Field[Any]:
    """Return the strict field for a column; `check_columns` refuses the types that get `Raw` here."""
    kind: Any = column.type
    options: dict[str, Any] = {
        "dump_only": bool(column.info.get("read_only")),
        "allow_none": bool(column.nullable),
        "validate": list(_limits(kind)),
        "metadata": {"description": column.doc},
    }
    if isinstance(kind, ExactNumeric):
        return Digits(kind.precision, kind.scale, **options)
    return FIELD_TYPES.get(type(kind), fields.Raw)(**options)


def _limits(kind: TypeEngine[Any]) -> Iterator[Validator]:
    """Yield what else the database's type demands of a value."""
    if bits := BITS.get(type(kind)):
        yield Range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if isinstance(kind, Enum):
        yield OneOf(kind.enums)
    elif isinstance(kind, String) and kind.length is not None:
        yield Length(max=kind.length)
    if isinstance(kind, UtcDateTime):
        yield Range(*MOMENTS)


def check_columns(columns: Iterable[KeyedColumnElement[Any]]) -> None:
    """Check that every setting can be kept on both databases, and added beside the release that runs.

    Raises:
        UnsupportedColumn: with one line about the first one that cannot.
    """
    for column in columns:
        if not _is_accepted(column):
            raise UnsupportedColumn(f"{column}: {column.type!r} is no type of a setting; use {ACCEPTED}")
        if not column.nullable and column.server_default is None:
            raise UnsupportedColumn(f"{column}: may not be NULL and has no server_default; give it one, or allow NULL")


def _is_accepted(column: KeyedColumnElement[Any]) -> bool:
    kind: Any = column.type
    match kind:
        case ExactNumeric():
            return 0 <= kind.scale <= kind.precision <= MOST_DIGITS
        case Enum():
            return kind.create_constraint and not kind.native_enum and kind.name == column.name and not kind.enum_class
        case Float():  # up to 24 bits PostgreSQL keeps fewer digits than JSON has
            return type(kind) in FIELD_TYPES and not kind.asdecimal and (kind.precision or 53) > 24
        case Uuid():
            return column.primary_key
    return type(kind) in FIELD_TYPES


class RevisionSchema(StrictSchema):
    """Which revision to restore or to undo."""

    revision = StrictInteger(required=True, validate=Range(1, LARGEST_REVISION))


def settings_document(settings: Mapping[str, Any], *, private: bool) -> Document:
    """Return the settings as anyone sees them, or with the private ones."""
    body = dump(settings)
    if not private:
        body = {name: value for name, value in body.items() if name in PUBLIC_NAMES}
    return document(body, revision=settings["revision"])


FIELDS = {column.key: _field(column) for column in SHOWN}
SettingsSchema = StrictSchema.from_dict(FIELDS, name="Settings")
SettingsChangeSchema = StrictSchema.from_dict(FIELDS, name="SettingsChange")
PUBLIC_NAMES = frozenset(column.key for column in SHOWN if column.info.get("public"))
