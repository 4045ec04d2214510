"""The property of what the service says of itself."""

from __future__ import annotations

from .case import Case, Found, name

BROKEN = "Traceback (most recent call last)"


def nothing_breaks(case: Case) -> Found:
    """Yield writes that met an error inside the service, commands that ended in one, and hosts that logged one."""
    for write in case.history.writes:
        if write.status == 500 or BROKEN in str(write.answer.get("detail")):
            yield f"{name(write)} met an error inside the service: {write.answer}", write.received
    for line in case.history.lines:
        if BROKEN in line.event:
            yield f"host {line.host} logged an error inside the service: {line.event}", line.at
