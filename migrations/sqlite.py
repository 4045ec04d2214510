"""What SQLite lacks for revisions that are written for PostgreSQL: ADD COLUMN IF NOT EXISTS, and ALTER with triggers.

Alembic recreates a table for what SQLite cannot alter (batch mode), which drops the table's triggers without a word.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from alembic.ddl import sqlite
from alembic.operations import BatchOperations, Operations, ops, toimpl

CONSTANT = re.compile(r"'(?:[^']|'')*'|[-+]?[\d.]+(?:e[-+]?\d+)?|true|false|null", re.IGNORECASE)
TRIGGERS = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"


class SQLiteImpl(sqlite.SQLiteImpl):
    """Alembic's own, keeping a recreated table's triggers; to define it is to register it for the dialect."""

    __dialect__ = "sqlite"
    triggers: tuple[str, ...] = ()

    def drop_table(self, table: sa.Table, **kw: Any) -> None:
        if self.connection is not None and not self.as_sql:
            self.triggers = tuple(self.connection.exec_driver_sql(TRIGGERS, (table.name,)).scalars())
        super().drop_table(table, **kw)

    def rename_table(self, old_table_name: str, new_table_name: Any, schema: Any = None) -> None:
        recreated = self.connection is not None and old_table_name.startswith("_alembic_tmp_")
        if recreated:  # else SQLite refuses while a view or another table's trigger names the table that was dropped
            self.static_execute("PRAGMA legacy_alter_table = ON")
        super().rename_table(old_table_name, new_table_name, schema)
        if recreated:
            self.static_execute("PRAGMA legacy_alter_table = OFF", *self.triggers)

    def static_execute(self, *statements: str) -> None:
        assert self.connection is not None
        for statement in statements:
            self.connection.exec_driver_sql(statement)


@Operations.implementation_for(ops.AddColumnOp, replace=True)
def add_column(operations: Any, operation: ops.AddColumnOp) -> None:
    """Add a column as Alembic does; on SQLite `if_not_exists` looks first, and any default is taken."""
    context = operations.get_context()
    if context.dialect.name == "sqlite":
        if operation.if_not_exists and not context.as_sql and is_there(operations, operation):
            return
        operation.if_not_exists = None
        if not (isinstance(operations, BatchOperations) or context.as_sql or is_constant(operation.column, context)):
            with operations.batch_alter_table(operation.table_name, recreate="always") as batch:
                batch.add_column(operation.column)
            return
    toimpl.add_column(operations, operation)


def is_there(operations: Any, operation: ops.AddColumnOp) -> bool:
    columns = sa.inspect(operations.get_bind()).get_columns(operation.table_name)
    return operation.column.name in {column["name"] for column in columns}


def is_constant(column: sa.Column[Any], context: Any) -> bool:
    """Return whether SQLite's ADD COLUMN takes the column's default: one that is not computed for each row."""
    compiler = context.dialect.ddl_compiler(context.dialect, None)
    default = compiler.get_column_default_string(column)
    return default is None or CONSTANT.fullmatch(default) is not None
