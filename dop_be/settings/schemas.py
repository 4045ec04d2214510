"""How settings are read from JSON and written to it: every field comes from its column, with strict types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from marshmallow import fields
from marshmallow.validate import Range
from marshmallow_sqlalchemy import ModelConverter
from sqlalchemy import BigInteger, Enum, Integer, SmallInteger
from sqlalchemy.sql.elements import KeyedColumnElement

from ..errors import InvalidInput
from ..fields import StrictInteger, StrictSchema, StrictString, parse
from .models import shown

LARGEST_REVISION = 2**31 - 1  # of its column


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
