"""States to test against, put into the snapshot without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from dop_be.live import Live
from dop_be.live.snapshot import Timeline


def put_in_force(live: Live, mode: str) -> None:
    """Turn maintenance on in this process alone."""
    snapshot = live.require()
    settings = {**snapshot.settings, "is_maintain": True, "maintenance_mode": mode}
    live.snapshot = replace(snapshot, timeline=Timeline(settings, (), datetime.now(UTC)))
