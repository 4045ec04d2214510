"""Operations for revisions that lose no rows: a downgrade keeps a table or column aside, an upgrade takes it back.

    upgrade():   op.create_kept_table("tokens", …)        op.add_kept_column("system_settings", sa.Column(…))
    downgrade(): op.keep_table("tokens")                  op.keep_column("system_settings", "support_email")

Each takes the arguments of Alembic's operation of that name without "kept" (or `drop_…`), and renames to `<name>_kept`.
`flask db revision --autogenerate` writes them by itself. Revisions that are already out rely on what these do: extend
them, never change them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations, ops

SUFFIX = "_kept"


@Operations.register_operation("create_kept_table", "create_table")
class CreateKeptTableOp(ops.CreateTableOp):
    """Create a table, or take back the one that a downgrade kept; what follows must cope with rows in it."""


@Operations.register_operation("keep_table", "drop_table")
class KeepTableOp(ops.DropTableOp):
    """Rename a table aside; its triggers have to be dropped before."""


@Operations.register_operation("add_kept_column", "add_column")
class AddKeptColumnOp(ops.AddColumnOp):
    """Add a column, or take back the one that a downgrade kept."""


@Operations.register_operation("keep_column", "drop_column")
class KeepColumnOp(ops.DropColumnOp):
    """Rename a column aside; it needs a default or takes NULL, since the older code no longer writes it."""


@Operations.implementation_for(CreateKeptTableOp)
def create_kept_table(operations: Operations, operation: CreateKeptTableOp) -> None:
    name, kept = operation.table_name, operation.table_name + SUFFIX
    context = operations.get_context()
    if context.as_sql and context.dialect.name == "postgresql":
        rename = f"ALTER TABLE IF EXISTS {quoted(operations, kept, name, between=' RENAME TO ')}"
        operations.execute(f"-- squawk-ignore renaming-table\n{rename}")  # no client reads what was kept aside
        operation.if_not_exists = True
    elif context.as_sql:
        operations.execute(f"CREATE TABLE {kept} (fails_where_a_downgrade_kept_rows)")
        operations.execute(f"DROP TABLE {kept}")
    elif sa.inspect(operations.get_bind()).has_table(kept):
        operations.rename_table(kept, name)
        return
    operations.invoke(plain(operation, ops.CreateTableOp))


@Operations.implementation_for(KeepTableOp)
def keep_table(operations: Operations, operation: KeepTableOp) -> None:
    operations.rename_table(operation.table_name, operation.table_name + SUFFIX)


@Operations.implementation_for(AddKeptColumnOp)
def add_kept_column(operations: Operations, operation: AddKeptColumnOp) -> None:
    table, name = operation.table_name, operation.column.name
    kept, context = name + SUFFIX, operations.get_context()
    rename = renaming(operations, table, kept, name)
    if context.as_sql and context.dialect.name == "postgresql":
        operations.execute(
            f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{quoted(operations, table)}'::regclass"
            f" AND attname = '{kept}' AND NOT attisdropped) THEN {rename}; END IF; END $$"
        )
        operation.if_not_exists = True
    elif context.as_sql:
        operations.execute(f"ALTER TABLE {quoted(operations, table)} ADD COLUMN {quoted(operations, kept)} NUMERIC")
        operations.execute(f"ALTER TABLE {quoted(operations, table)} DROP COLUMN {quoted(operations, kept)}")
    elif kept in {column["name"] for column in sa.inspect(operations.get_bind()).get_columns(table)}:
        operations.execute(rename)
        return
    operations.invoke(plain(operation, ops.AddColumnOp))


@Operations.implementation_for(KeepColumnOp)
def keep_column(operations: Operations, operation: KeepColumnOp) -> None:
    name = operation.column_name
    operations.execute(renaming(operations, operation.table_name, name, name + SUFFIX))


def renaming(operations: Operations, table: str, old: str, new: str) -> str:
    """The statement that renames a column, the same on both dialects."""
    return f"ALTER TABLE {quoted(operations, table)} RENAME COLUMN {quoted(operations, old, new, between=' TO ')}"


def quoted(operations: Operations, *names: str, between: str = ", ") -> str:
    quote = operations.get_context().dialect.identifier_preparer.quote
    return between.join(quote(name) for name in names)


def plain(operation: Any, kind: type[Any]) -> Any:
    """The same operation as Alembic's own, whose fields ours share."""
    operation.__class__ = kind
    return operation


# What --autogenerate writes: in an upgrade the left ones, in a downgrade the right ones.
CREATING: dict[type[Any], type[Any]] = {ops.CreateTableOp: CreateKeptTableOp, ops.AddColumnOp: AddKeptColumnOp}
KEEPING: dict[type[Any], type[Any]] = {ops.DropTableOp: KeepTableOp, ops.DropColumnOp: KeepColumnOp}


def keep_rows(script: ops.MigrationScript) -> None:
    """Replace what creates in the upgrade, and what drops in the downgrade, of an autogenerated revision."""
    for upgrade in script.upgrade_ops_list:
        upgrade.ops = list(replaced(upgrade.ops, CREATING))
    for downgrade in script.downgrade_ops_list:
        downgrade.ops = list(replaced(downgrade.ops, KEEPING))


def replaced(operations: Iterable[Any], kinds: dict[type[Any], type[Any]]) -> Iterator[Any]:
    """The operations with those of `kinds` replaced; out of a batch, what is replaced stands on its own."""
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            own = [plain(inner, kinds[type(inner)]) for inner in operation.ops if type(inner) in kinds]
            operation.ops = [inner for inner in operation.ops if inner not in own]
            batch = [operation] if operation.ops else []
            yield from own + batch if kinds is CREATING else batch + own
        else:
            yield plain(operation, kinds.get(type(operation), type(operation)))


@renderers.dispatch_for(CreateKeptTableOp)
@renderers.dispatch_for(KeepTableOp)
@renderers.dispatch_for(AddKeptColumnOp)
@renderers.dispatch_for(KeepColumnOp)
def render(context: AutogenContext, operation: Any) -> str:
    """As Alembic writes its own operation, under the other name."""
    alembics = type(operation).__mro__[1]
    name = {kept: name for name, kept in NAMES.items()}[type(operation)]
    text: str = renderers.dispatch(alembics)(context, operation)
    before, bracket, after = text.partition("(")
    return f"{before.rpartition('.')[0]}.{name}{bracket}{after}"


NAMES: dict[str, type[Any]] = {
    "create_kept_table": CreateKeptTableOp,
    "keep_table": KeepTableOp,
    "add_kept_column": AddKeptColumnOp,
    "keep_column": KeepColumnOp,
}
