"""What --autogenerate and `flask db check` look at, and how they write it so that it runs on both databases.

They see our tables alone, whatever else is in the database. They remove nothing but a column, index or constraint that
an earlier revision made; what a newer release left behind stays. A table that is no longer needed is dropped by hand.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util import PriorityDispatchResult

from migrations import rendering

logger = logging.getLogger("alembic.dop_be")


def options(metadata: sa.MetaData) -> dict[str, Any]:
    """Return what `context.configure` is given."""
    return {
        "target_metadata": metadata,
        "include_name": partial(is_ours, metadata),
        "include_object": is_known,
        "compare_server_default": rendering.differing_default,
        "render_item": rendering.rendered,
        "render_as_batch": True,
        "process_revision_directives": adapt,
    }


def is_ours(metadata: sa.MetaData, name: str | None, kind: str, _parents: Any) -> bool:
    return kind != "table" or name in metadata.tables


def is_known(item: Any, name: str | None, kind: str, reflected: bool, counterpart: Any) -> bool:
    """Leave alone what stands in the database and not in the models, unless a revision of ours made it."""
    if not reflected or counterpart is not None:
        return True
    return added_as(item.table.name, name) is not None if kind == "column" else is_named(name)


def sources() -> Iterator[str]:
    """Yield the text of every revision, the newest first."""
    for revision in context.script.walk_revisions():
        yield Path(revision.path).read_text()


def is_named(name: str | None) -> bool:
    return name is not None and any(f'"{name}"' in text or f"'{name}'" in text for text in sources())


def added_as(table: str, name: str | None) -> str | None:
    """Return the `sa.Column(…)` with which a revision last added this column; None where none did."""
    for text in sources():
        for call in calls(ast.parse(text), "create_table", "add_column"):
            if first_argument(call) == table:
                for column in calls(call, "Column"):
                    if first_argument(column) == name:
                        return ast.get_source_segment(text, column)
    return None


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            yield node


def first_argument(call: ast.Call) -> Any:
    return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None


@comparators.dispatch_for("table")
def compare_enumerations(  # noqa: PLR0913, PLR0917 - Alembic's
    autogen: AutogenContext,
    changes: ops.ModifyTableOps,
    schema: str | None,
    table: str,
    found: sa.Table | None,
    model: sa.Table | None,
) -> PriorityDispatchResult:
    """Replace an enumeration's CHECK whose values are no longer the model's."""
    if found is not None and model is not None and autogen.inspector is not None:
        checks = {check["name"]: check["sqltext"] for check in autogen.inspector.get_check_constraints(table)}
        for column in rendering.enumerations(model):
            name = rendering.check_name(table, column.type.name)
            if column.name in found.c and values(checks.get(name)) != set(column.type.enums):
                logger.info("detected changed values of %s.%s", table, column.name)
                changes.ops += replacement(column, name, checks.get(name))
    return PriorityDispatchResult.CONTINUE


def values(condition: str | None) -> set[str]:
    """Return the strings in a CHECK as either database shows it."""
    return {text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", condition or "")}


def replacement(column: Any, name: str, condition: str | None) -> Iterator[ops.MigrateOperation]:
    table = column.table.name
    if condition is not None:
        before = rendering.Check(name, table, rendering.condition(column.name, sorted(values(condition))))
        yield rendering.DropCheck(name, table, type_="check", _reverse=before)
    yield rendering.Check(name, table, rendering.condition(column.name, column.type.enums))


def adapt(migration: Any, _revision: Any, directives: list[Any]) -> None:
    """Make no file where there is nothing to do; else one that takes the database as it finds it and loses no rows."""
    if not getattr(context.config.cmd_opts, "autogenerate", False):
        return
    if directives[0].upgrade_ops.is_empty():
        directives[:] = []
        logger.info("no changes in the schema; no revision made")
    for script in directives:
        drop_checks(script.upgrade_ops.ops, sa.inspect(migration.connection))
        keep(script.downgrade_ops)
        for steps in (script.upgrade_ops, script.downgrade_ops):
            steps.ops = list(adapted(steps.ops))
        if rendering.makes_uuids(script.upgrade_ops.ops):
            script.upgrade_ops.ops.insert(0, rendering.FindUuidOssp())


def drop_checks(operations: Iterable[Any], inspector: sa.Inspector) -> None:
    """Drop an enumeration's CHECK before its column, which SQLite does not do by itself."""
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            table = operation.table_name
            dropped = {each.column_name for each in operation.ops if isinstance(each, ops.DropColumnOp)}
            checks = {check["name"] for check in inspector.get_check_constraints(table)} if dropped else set()
            names = [rendering.check_name(table, name) for name in sorted(dropped)]
            operation.ops[:0] = [ops.DropConstraintOp(name, table, type_="check") for name in names if name in checks]


def keep(downgrade: ops.DowngradeOps) -> None:
    """Leave out of a downgrade whatever drops a table or a column; put a column back as it had been added."""
    downgrade.ops = [operation for operation in downgrade.ops if not isinstance(operation, ops.DropTableOp)]
    for operation in downgrade.ops:
        if isinstance(operation, ops.ModifyTableOps):
            operation.ops = [each for each in operation.ops if not isinstance(each, ops.DropColumnOp)]
            for each in operation.ops:
                if isinstance(each, ops.AddColumnOp):
                    each.column.info[rendering.SOURCE] = added_as(operation.table_name, each.column.name)


def adapted(operations: Iterable[Any]) -> Iterator[Any]:
    """Let what creates pass over what is there, outside of batches, for which SQLite would recreate the table."""
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            added = [tolerant(each) for each in operation.ops if isinstance(each, ops.AddColumnOp)]
            indexes = [tolerant(each) for each in operation.ops if isinstance(each, ops.CreateIndexOp)]
            operation.ops = [each for each in operation.ops if each not in added + indexes]
            yield from [*added, *([operation] if operation.ops else []), *indexes]
        else:
            yield tolerant(operation)


def tolerant(operation: Any) -> Any:
    if isinstance(operation, ops.CreateTableOp | ops.AddColumnOp | ops.CreateIndexOp):
        operation.if_not_exists = True
    return operation
