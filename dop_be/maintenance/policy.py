"""Whether a request is refused: pure functions of the state, the request's facts and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Maintenance:
    """What is in force at one moment; `source` is `switch` or null, times are aware."""

    active: bool
    mode: str
    message: str | None
    source: str | None
    since: datetime | None
    until: datetime | None
    revision: int


def in_force(settings: Mapping[str, Any]) -> Maintenance:
    """The maintenance that these settings put in force."""
    active = settings["is_maintain"]
    return Maintenance(
        active=active,
        mode=settings["maintenance_mode"],
        message=settings["maintenance_message"],
        source="switch" if active else None,
        since=settings["maintenance_since"] if active else None,
        until=None,
        revision=settings["revision"],
    )


def lets_through(maintenance: Maintenance, method: str, *, preflight: bool) -> bool:
    """Whether a request passes that is neither exempt nor bypassing.

    `preflight` says that it is a CORS preflight (Fetch standard, "CORS-preflight request"), which does nothing yet.
    """
    if not maintenance.active or preflight:
        return True
    return maintenance.mode == "read_only" and method in SAFE_METHODS
