"""What endpoints declare to the gate: always let through, of which components, or what they do where a method misleads.

By endpoint, never by a part of the path. Put these decorators outermost: another decorator may not copy the attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask

from ..maintenance.models import NAME

READING, WRITING = "GET", "POST"  # the methods that declared endpoints count as

Target = TypeVar("Target")


@dataclass(frozen=True, slots=True)
class Declared:
    """What the endpoint of a request declares; what no route matches declares nothing.

    `method` is the one that the request counts as. Of several `components` the strictest counts.
    """

    exempt: bool
    method: str
    components: frozenset[str]


def exempt(target: Target) -> Target:
    """Let through always: a view function, a MethodView or one method of it, or every view of a blueprint."""
    target.maintenance_exempt = True  # type: ignore[attr-defined]  # functions, classes and blueprints do
    return target


def reads(target: Target) -> Target:
    """Declare that a view, or a method of a MethodView, only reads, whatever its method: it passes in `read_only`."""
    target.maintenance_counts_as = READING  # type: ignore[attr-defined]  # as above
    return target


def writes(target: Target) -> Target:
    """Declare that a view, or a method of a MethodView, writes, also by GET: it is refused in `read_only`."""
    target.maintenance_counts_as = WRITING  # type: ignore[attr-defined]  # as above
    return target


def component(name: str) -> Callable[[Target], Target]:
    """Gate by a component too: a view function, a MethodView or one method of it, or every view of a blueprint.

    `exempt` takes precedence. A name that no component has counts as the platform.

    Raises:
        ValueError: no component can have this name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a component; use lower-case letters, digits and hyphens")

    def declare(target: Target) -> Target:
        known: frozenset[str] = getattr(target, "maintenance_components", frozenset())
        target.maintenance_components = known | {name}  # type: ignore[attr-defined]  # as above
        return target

    return declare


def declared(app: Flask, endpoint: str | None, blueprints: list[str], method: str) -> Declared:
    """Return what the endpoint that a request was routed to declares.

    Of the methods that it counts as the nearest declaration wins, else it is the request's own. OPTIONS stays what it
    is, since it asks about an endpoint and does not run it.
    """
    targets = list(_targets(app, endpoint, blueprints, method))
    counted = (getattr(target, "maintenance_counts_as", None) for target in targets)
    components = [getattr(target, "maintenance_components", frozenset[str]()) for target in targets]
    return Declared(
        any(getattr(target, "maintenance_exempt", False) for target in targets),
        method if method == "OPTIONS" else next(filter(None, counted), method),
        frozenset[str]().union(*components),
    )


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
