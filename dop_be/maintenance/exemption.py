"""Exemption: which endpoints the gate always lets through. By endpoint, never by a part of the path."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import Flask

Exemptable = TypeVar("Exemptable")


def exempt(target: Exemptable) -> Exemptable:
    """Let a view function, or every view of a blueprint, through the gate also during maintenance."""
    target.maintenance_exempt = True  # type: ignore[attr-defined]  # functions and blueprints do
    return target


def is_exempt(app: Flask, endpoint: str | None, blueprints: list[str]) -> bool:
    """Whether the endpoint that a request was routed to is exempt; what no route matches is not."""
    if endpoint is None:
        return False
    marked: list[Any] = [app.view_functions.get(endpoint), *(app.blueprints[name] for name in blueprints)]
    return any(getattr(target, "maintenance_exempt", False) for target in marked)
