"""States to test against, put into the snapshot without a database."""

from __future__ import annotations

import math
from dataclasses import replace

from dop_be.live import Live
from dop_be.maintenance.policy import Maintenance
from dop_be.maintenance.timeline import Phase, Timeline, maintenance_document

from ..shared import snapshot_of


def put_in_force(live: Live, mode: str) -> None:
    """Turn maintenance on in this process alone."""
    snapshot = snapshot_of(live)
    settings = {**snapshot.settings, "is_maintain": True, "maintenance_mode": mode}
    live.snapshot = replace(snapshot, timeline=Timeline(settings, ()))


def put_exactly(live: Live, maintenance: Maintenance) -> None:
    """Let this be in force in this process, whatever the time."""
    snapshot = snapshot_of(live)
    timeline = Timeline(snapshot.settings, ())
    timeline._phase = Phase(-math.inf, math.inf, maintenance, maintenance_document(maintenance, None), None)
    live.snapshot = replace(snapshot, timeline=timeline)
