"""Windows that open and close while every worker of a gunicorn is watched and its database is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection

from ..conftest import ADMIN
from .servers import Server, eventually
from .workers import Answer, ask, connections, watching

OPEN, REFUSED = 200, 503  # what /gate answers


@dataclass(frozen=True)
class Change:
    """The Unix time at which every worker's answer is to become `status`."""

    moment: float
    status: int


def plan(server: Server, count: int, *, lead: float, each: float) -> list[Change]:
    """Plan windows of `each` seconds with as much between, the first in `lead` seconds; the changes that they make."""
    first = time.time() + lead
    changes = []
    for number in range(count):
        starts, ends = first + 2 * number * each, first + (2 * number + 1) * each
        body = {"starts_at": _shown(starts), "ends_at": _shown(ends)}
        server.request("POST", "/api/v1/maintenance/windows", json=body, headers=ADMIN).raise_for_status()
        changes += [Change(starts, REFUSED), Change(ends, OPEN)]
    return changes


def watch_without_database(
    server: Server, changes: list[Change], stop_database: Callable[[], None]
) -> dict[int, list[Answer]]:
    """Stop the database once every worker knows the windows, and watch what each says at `/gate` until all are over."""
    workers = server.workers()
    for connection in connections(server.port, workers).values():
        eventually(30, partial(_knows, connection, len(changes) // 2))
        connection.close()
    stop_database()
    with watching(server.port, workers, "/gate") as answers:
        time.sleep(max(0.0, changes[-1].moment + 0.3 - time.time()))
    return answers


def proven_wrong(change: Change, answers: list[Answer], tolerance: float) -> list[Answer]:
    """The answers that no slowness of the machine excuses: given before the change as if after it, or too long after.

    An answer was made up between its sending and its receipt, so one that was sent `tolerance` seconds after the change
    is too late whenever it came.
    """
    early = [one for one in answers if change.moment - 0.15 < one.sent and one.received < change.moment]
    late = [one for one in answers if change.moment + tolerance <= one.sent < change.moment + 0.25]
    return [one for one in early if one.status == change.status] + [one for one in late if one.status != change.status]


def lateness(change: Change, answers: list[Answer]) -> float:
    """Seconds from the change to the receipt of the first answer that shows it."""
    return next(one.received for one in answers if one.sent > change.moment - 0.15 and one.status == change.status) - (
        change.moment
    )


def _knows(connection: HTTPConnection, count: int) -> bool:
    return len(json.loads(ask(connection, "/api/v1/maintenance/windows").body)["windows"]) == count


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
