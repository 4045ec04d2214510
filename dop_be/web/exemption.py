"""What endpoints declare to the gate: that it always lets them through, or what they do where the method misleads.

By endpoint, never by a part of the path. Put these decorators outermost: another decorator may not copy the attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from flask import Flask

READING, WRITING = "GET", "POST"  # the methods that declared endpoints count as

Declared = TypeVar("Declared")


def exempt(target: Declared) -> Declared:
    """Let through always: a view function, a MethodView or one method of it, or every view of a blueprint."""
    target.maintenance_exempt = True  # type: ignore[attr-defined]  # functions, classes and blueprints do
    return target


def reads(target: Declared) -> Declared:
    """Declare that a view, or a method of a MethodView, only reads, whatever its method: it passes in `read_only`."""
    target.maintenance_counts_as = READING  # type: ignore[attr-defined]  # as above
    return target


def writes(target: Declared) -> Declared:
    """Declare that a view, or a method of a MethodView, writes, also by GET: it is refused in `read_only`."""
    target.maintenance_counts_as = WRITING  # type: ignore[attr-defined]  # as above
    return target


def is_exempt(app: Flask, endpoint: str | None, blueprints: list[str], method: str) -> bool:
    """Whether the endpoint that a request was routed to is exempt; what no route matches is not."""
    targets = _targets(app, endpoint, blueprints, method)
    return any(getattr(target, "maintenance_exempt", False) for target in targets)


def counted_method(app: Flask, endpoint: str | None, blueprints: list[str], method: str) -> str:
    """Return the method that a request counts as: what the nearest declaration says, else its own.

    OPTIONS stays what it is, since it asks about an endpoint and does not run it.
    """
    if method == "OPTIONS":
        return method
    declared = (
        getattr(target, "maintenance_counts_as", None) for target in _targets(app, endpoint, blueprints, method)
    )
    return next(filter(None, declared), method)


def _targets(app: Flask, endpoint: str | None, blueprints: list[str], method: str) -> Iterator[Any]:
    """Return what may carry a declaration for this request, the nearest first."""
    if endpoint is None:
        return
    view = app.view_functions[endpoint]
    view_class = getattr(view, "view_class", None)
    name = method.lower()
    if name == "head" and not hasattr(view_class, name):
        name = "get"  # as MethodView itself answers it
    yield from (getattr(view_class, name, None), view, view_class)
    yield from (app.blueprints[blueprint] for blueprint in blueprints)
