"""States to test against, put into the snapshot without a database."""

from __future__ import annotations

import math
from dataclasses import replace

from dop_be.live import Live
from dop_be.maintenance.policy import Maintenance
from dop_be.maintenance.schedule import Occurrence
from dop_be.maintenance.timeline import Phase, Timeline, maintenance_document

from ..shared import snapshot_of


def put_in_force(live: Live, mode: str) -> None:
    """Turn maintenance on in this process alone."""
    snapshot = snapshot_of(live)
    settings = {**snapshot.settings, "is_maintain": True, "maintenance_mode": mode}
    live.snapshot = replace(snapshot, timeline=Timeline(settings, ()))


def put_components(live: Live, **modes: str | None) -> None:
    """Have these components in this process alone; those with a mode are closed. Underscores stand for hyphens."""
    snapshot, rows = snapshot_of(live), {}
    for given, mode in modes.items():
        name = given.replace("_", "-")
        switch = {"is_maintain": mode is not None, "maintenance_mode": mode or "full", "maintenance_message": None}
        rows[name] = {"name": name, "title": f"The {name}", "maintenance_since": None, **switch}
    settings = snapshot.timeline._settings
    live.snapshot = replace(snapshot, components=rows, timeline=Timeline(settings, (), rows))


def put_exactly(live: Live, maintenance: Maintenance, *coming: Occurrence) -> None:
    """Let this be in force and announced in this process, whatever the time."""
    snapshot = snapshot_of(live)
    timeline = Timeline(snapshot.settings, ())
    timeline._phase = Phase(-math.inf, math.inf, maintenance, maintenance_document(maintenance, None), None, coming)
    live.snapshot = replace(snapshot, timeline=timeline)
