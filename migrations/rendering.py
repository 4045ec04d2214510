"""How --autogenerate writes types, defaults and enumerations: the same text for both databases, from the models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import render, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util import CommandError
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.elements import BindParameter, False_, TextClause, True_, conv
from sqlalchemy.sql.functions import Function

from dop_be.columns import new_uuid
from dop_be.extensions import NAMING_CONVENTION

CHECK_NAME = NAMING_CONVENTION["ck"]
SOURCE = "source"  # in a column's info: the text of a revision that stands for it
PLAIN = DefaultDialect(paramstyle="named")  # the one style that doubles no percent sign
NOW = re.compile(r"\(*(?:now\(\)|CURRENT_TIMESTAMP)\)*")
QUOTED = re.compile(r"'((?:[^']|'')*)'(?:::.*)?")


class Check(ops.CreateCheckConstraintOp):
    """Alembic's operation, its condition written as a string in which a colon is a colon."""

    def to_diff_tuple(self) -> Any:
        """Return what `flask db check` prints."""
        return "add_constraint", self.table_name, str(self.constraint_name), self.condition


class DropCheck(ops.DropConstraintOp):
    """Alembic's operation for a CHECK, which `flask db check` prints readably."""

    def to_diff_tuple(self) -> Any:
        """Return what `flask db check` prints."""
        return "remove_constraint", self.table_name, str(self.constraint_name)


class FindUuidOssp(ops.MigrateOperation):
    """What goes before `sql.new_uuid()`."""


@renderers.dispatch_for(Check)
def _check(autogen: AutogenContext, operation: Check) -> str:
    target = "batch_op" if autogen._has_batch else "op"  # noqa: SLF001 - as Alembic's own renderers ask
    table = "" if autogen._has_batch else f", {operation.table_name!r}"  # noqa: SLF001
    name = f"{target}.f({str(operation.constraint_name)!r})"
    return f"{target}.create_check_constraint({name}{table}, {operation.condition!r})"


@renderers.dispatch_for(FindUuidOssp)
def _find_uuid_ossp(autogen: AutogenContext, operation: FindUuidOssp) -> str:
    autogen.imports.add("from migrations import sql")
    return "sql.find_uuid_ossp(op)"


def enumerations(table: sa.Table) -> Iterator[Any]:
    """Yield the columns that are text with a CHECK."""
    for column in table.columns:
        if isinstance(column.type, sa.Enum) and column.type.create_constraint and not column.type.native_enum:
            yield column


def check_name(table: str, enumeration: str) -> conv:
    """Return the whole name of an enumeration's CHECK, to which no rule is applied once more."""
    return conv(CHECK_NAME % {"table_name": table, "constraint_name": enumeration})


def condition(name: str, values: Iterable[str]) -> str:
    """Return an enumeration's CHECK in SQL, as text() takes it."""
    accepted: sa.ColumnElement[bool] = sa.column(name).in_(list(values))
    return str(accepted.compile(dialect=PLAIN, compile_kwargs={"literal_binds": True})).replace(":", r"\:")


def makes_uuids(operations: Iterable[Any]) -> bool:
    columns = [
        column
        for operation in operations
        for column in getattr(operation, "columns", [getattr(operation, "column", None)])
    ]
    return any(is_new_uuid(column) for column in columns if isinstance(column, sa.Column))


def is_new_uuid(column: sa.Column[Any]) -> bool:
    return isinstance(getattr(column.server_default, "arg", None), new_uuid)


def differing_default(
    _context: Any,
    found: sa.Column[Any],
    column: sa.Column[Any],
    text: str | None,
    _default: Any,
    _rendered: str | None,
) -> bool | None:
    """Compare what each database spells in its own way; Alembic compares the rest."""
    if is_new_uuid(column):
        return text is None or not re.search("uuid_generate_v4|randomblob", text)
    with suppress(CommandError):
        same = portable(column.server_default, column.type) == portable(found.server_default, column.type)
        if same or isinstance(column.type, sa.Boolean):  # which is a number on SQLite
            return not same
    return None


def rendered(kind: str, item: Any, autogen: AutogenContext) -> str | bool:
    """Write what Alembic would write for the database at hand, or in words of dop_be: Alembic's `render_item`."""
    if kind == "column":
        return item.info.get(SOURCE) or (isinstance(item.type, sa.Enum) and enumeration(item, autogen))
    if kind == "type":
        return type_text(item)
    if kind == "server_default" and isinstance(item, sa.DefaultClause):
        if isinstance(item.arg, new_uuid):
            autogen.imports.add("from migrations import sql")
        return portable(item, item.column.type if item.column is not None else None)
    return False


def enumeration(column: sa.Column[Any], autogen: AutogenContext) -> str | bool:
    kind: Any = column.type
    if kind.native_enum or not kind.create_constraint:
        return False
    default = render._render_server_default(column.server_default, autogen) if column.server_default else None  # noqa: SLF001
    name = check_name(column.table.name, kind.name)
    check = f"sa.CheckConstraint({condition(column.name, kind.enums)!r}, name=op.f({str(name)!r}))"
    given = f", server_default={default}" if default else ""
    return f"sa.Column({column.name!r}, {type_text(kind)}, {check}{given}, nullable={column.nullable})"


def type_text(kind: Any) -> str | bool:
    """Return a type in generic words; False where Alembic's own are."""
    if isinstance(kind, sa.TypeDecorator) and type(kind).__module__.startswith("dop_be"):
        there = kind.load_dialect_impl(sqlite.dialect())
        variant = "" if repr(there) == repr(kind.impl_instance) else f".with_variant(sa.{there!r}, 'sqlite')"
        return f"sa.{kind.impl_instance!r}{variant}"
    if isinstance(kind, sa.Enum) and not kind.native_enum:
        return f"sa.String(length={kind.length})"
    if type(kind).__name__.isupper() and not isinstance(kind, sa.JSON):  # as a database names it
        generic = kind.as_generic(allow_nulltype=True)
        return f"sa.{sa.DateTime(timezone=True) if isinstance(generic, sa.DateTime) else generic!r}"
    return False


def portable(default: Any, kind: Any) -> str:
    """Return the source of a server default that means the same on both databases.

    Raises:
        CommandError: it is an expression that only one of them may know.
    """
    text = default if default is None or isinstance(default, str) else default.arg
    if isinstance(text, TextClause):
        text = from_database(text.text) if default.reflected else text
    if isinstance(kind, sa.Boolean):
        text = BOOLEANS.get(str(text).lower(), text)
    return source(text)


def source(default: Any) -> str:
    match default:
        case None | str():
            return repr(default)
        case True_():
            return "sa.true()"
        case False_():
            return "sa.false()"
        case new_uuid():
            return "sql.new_uuid()"
        case TextClause():
            return f"sa.text({default.text!r})"
        case BindParameter():
            return f"sa.literal({default.value!r})"
        case Function() if not default.clauses.clauses:
            return f"sa.func.{default.name}()"
    raise CommandError(f"the server_default {default} may mean something else on the other database: use a constant")


def from_database(text: str) -> Any:
    """Return the default that a database reports, without its casts and brackets."""
    if NOW.fullmatch(text):
        return sa.func.now()
    if quoted := QUOTED.fullmatch(text):
        return quoted[1].replace("''", "'")
    return sa.text(text.partition("::")[0])


BOOLEANS = {"true": sa.true(), "1": sa.true(), "false": sa.false(), "0": sa.false()}
