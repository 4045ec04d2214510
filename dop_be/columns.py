"""Column types and defaults that mean the same on PostgreSQL and SQLite."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from psycopg2 import extensions
from sqlalchemy import (
    JSON,
    Boolean,
    Date,
    DateTime,
    Dialect,
    Double,
    Enum,
    Float,
    Numeric,
    ScalarSelect,
    Select,
    String,
    TypeDecorator,
    Uuid,
    func,
    select,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import Function, FunctionElement
from sqlalchemy.types import TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware, in UTC on both sides; SQLite keeps no offset, so it is put back on the way out.

    Raises:
        ValueError: a naive datetime is stored.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a datetime without an offset cannot be stored: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactNumeric(TypeDecorator[Decimal]):
    """A decimal number of up to `precision` digits, `scale` of them after the point.

    SQLite would store a float, so there it is text.
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int = 0) -> None:
        super().__init__(precision, scale)
        self.precision, self.scale = precision, scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return self.text if dialect.name == "sqlite" else self.impl_instance

    @property
    def text(self) -> String:
        """Return SQLite's type: the digits with a sign and a point."""
        return String(self.precision + 2)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return f"{value:.{self.scale}f}" if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(f"{Decimal(value):.{self.scale}f}")


class Enumeration(Enum):
    """Text with a CHECK, read as it is: a newer release may have stored a value that this one does not know."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return String.result_processor(self, dialect, coltype)


def enumeration(name: str, *values: str, length: int = 64) -> Enumeration:
    """Return the type of a column that holds one of these strings, `name` being the column's."""
    return Enumeration(*values, name=name, native_enum=False, create_constraint=True, length=length)


class new_uuid(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """A random UUID made by the database, as a server default."""

    type = Uuid()
    name = "new_uuid"
    inherit_cache = True


@compiles(new_uuid, "postgresql")
def _new_uuid_postgresql(element: new_uuid, compiler: Any, **kw: Any) -> str:
    return "uuid_generate_v4()"


@compiles(new_uuid, "sqlite")
def _new_uuid_sqlite(element: new_uuid, compiler: Any, **kw: Any) -> str:
    # 32 hex digits, as SQLAlchemy's Uuid stores them there, with the version and variant bits of RFC 9562 section 5.4
    return (
        "(lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)"
        " || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2))"
    )


def database_now() -> Function[datetime]:
    """Return the database's clock at this moment, not at the transaction's beginning; SQLite's is the host's.

    `sqlite.open_file` gives PostgreSQL's function to each connection.
    """
    return func.clock_timestamp(type_=UtcDateTime())


def rows(statement: Select[*tuple[Any, ...]]) -> ScalarSelect[list[dict[str, Any]]]:
    """Embed a SELECT as one JSON column, so that one statement reads several tables consistently.

    Its value is a list of rows, each with its values by column name.
    """
    table = statement.subquery()
    types = {column.key: column.type for column in table.c}
    return select(type_coerce(_json_rows(*table.c), Rows(types))).scalar_subquery()


class Rows(TypeDecorator[list[dict[str, Any]]]):
    """What `rows` reads, each value as its column's type would have it."""

    impl = JSON
    cache_ok = True

    def __init__(self, types: Mapping[str, TypeEngine[Any]]) -> None:
        super().__init__()
        self.kinds = tuple((name, type(kind)) for name, kind in types.items())

    def process_result_value(self, value: list[list[Any]] | None, dialect: Dialect) -> list[dict[str, Any]]:
        readers = [(name, FROM_JSON.get(kind)) for name, kind in self.kinds]
        return [
            {
                name: cell if cell is None or read is None else read(cell)
                for (name, read), cell in zip(readers, row, strict=True)
            }
            for row in value or []  # PostgreSQL's aggregate of nothing is null
        ]


def from_json(kind: TypeEngine[Any], value: Any) -> Any:
    """Return a value of a column of this type from what JSON has for it."""
    read = FROM_JSON.get(type(kind))
    return value if value is None or read is None else read(value)


class _json_rows(FunctionElement[Any]):  # noqa: N801 - as above
    inherit_cache = True


@compiles(_json_rows, "postgresql")
def _json_rows_postgresql(element: _json_rows, compiler: Any, **kw: Any) -> str:
    return f"json_agg(json_build_array({compiler.process(element.clauses, **kw)}))"


@compiles(_json_rows, "sqlite")
def _json_rows_sqlite(element: _json_rows, compiler: Any, **kw: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **kw)}))"


def _utc(text: str) -> datetime:
    try:
        moment = NEVER.get(text) or datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # years that PostgreSQL has and Python has not
        return NEVER["-infinity" if text.endswith("BC") else "infinity"]


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:  # as above
        return date.min if text.startswith("-") or text.endswith("BC") else date.max


def read_every_year(connection: extensions.connection, record: object = None) -> None:
    """Have a connection to PostgreSQL read dates and times that Python cannot hold as the farthest that it can.

    One such value, which only SQL can have stored, would otherwise keep everybody from the whole state.
    """
    for reader in READERS:
        extensions.register_type(reader, connection)


def _unless_null(read: Callable[[str], Any], text: str | None, cursor: object) -> Any:
    return None if text is None else read(text)


TIMESTAMPTZ, DATE = 1184, 1082  # PostgreSQL's numbers of these types
READERS = [
    extensions.new_type((number,), name, partial(_unless_null, read))
    for number, name, read in ((TIMESTAMPTZ, "MOMENT", _utc), (DATE, "DAY", _date))
]
NEVER = {"infinity": datetime.max.replace(tzinfo=UTC), "-infinity": datetime.min.replace(tzinfo=UTC)}  # PostgreSQL's
# What JSON has no type for, SQLite's booleans, and floats, which the engine reads from JSON as decimal numbers.
FROM_JSON: dict[type[TypeEngine[Any]], Callable[[Any], Any]] = {
    UtcDateTime: _utc,
    Date: _date,
    Uuid: uuid.UUID,
    Boolean: bool,
    ExactNumeric: Decimal,
    Float: float,
    Double: float,
}
