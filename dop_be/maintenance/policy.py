"""What is in force and whether a request is refused: pure functions of the state, the request's facts and the time."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from .schedule import Occurrence

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ANNOUNCED = timedelta(hours=24)  # before its start a window shows on allowed answers
MOST_ANNOUNCED = 10  # on a page; SQL may have planned thousands


@dataclass(frozen=True)
class Maintenance:
    """What is in force at one moment; `source` is `switch`, `window` or null, times are aware."""

    active: bool
    mode: str
    message: str | None
    source: str | None
    since: datetime | None
    until: datetime | None
    revision: int


def in_force(
    settings: Mapping[str, Any],
    occurrences: Sequence[Occurrence],
    now: datetime,
    component: Mapping[str, Any] | None = None,
) -> Maintenance:
    """Return the maintenance that these settings and the windows' occurrences, in order, put in force.

    The stricter mode wins, with its message; of equally strict ones the switch, then the window that was opened in
    its place, then the one that opened first. A switch has no end, so while one is on there is none, also where a
    stricter window will close. For a component its own row counts too, after the platform's, and the occurrences are
    those of both.
    """
    switches = [settings] if component is None else [settings, component]
    on = [switch for switch in switches if switch["is_maintain"]]
    open_now = [occurrence for occurrence in occurrences if occurrence.is_open(now)]
    windows = sorted(open_now, key=lambda found: not found.window.ad_hoc)
    wanted = [(switch["maintenance_mode"], switch["maintenance_message"]) for switch in on or switches[-1:]]
    if open_now:
        wanted = wanted[: len(on)] + [(found.window.mode, found.window.message) for found in windows]
    mode, message = min(wanted, key=lambda found: found[0] != "full")
    begun = [switch["maintenance_since"] for switch in on] if on else [found.starts_at for found in open_now]
    return Maintenance(
        active=bool(on or open_now),
        mode=mode,
        message=message,
        source="switch" if on else "window" if open_now else None,
        since=min(filter(None, begun), default=None),
        until=None if on else _end_of_union(occurrences, now),
        revision=settings["revision"],
    )


def upcoming(occurrences: Sequence[Occurrence], now: datetime) -> Occurrence | None:
    """Return the next occurrence to start, of several at once the strictest."""
    later = [occurrence for occurrence in occurrences if occurrence.starts_at > now]
    return min(later, key=lambda found: (found.starts_at, found.window.mode != "full"), default=None)


def announced(occurrence: Occurrence | None, now: datetime) -> bool:
    """Whether this next occurrence is near enough to tell every visitor."""
    return occurrence is not None and occurrence.starts_at - now <= ANNOUNCED


def announcements(occurrences: Sequence[Occurrence], now: datetime) -> tuple[Occurrence, ...]:
    """Return the occurrences that are near enough to tell every visitor, in order; of many the first."""
    near = (occurrence for occurrence in occurrences if now < occurrence.starts_at <= now + ANNOUNCED)
    return tuple(islice(near, MOST_ANNOUNCED))


def boundaries(occurrences: Sequence[Occurrence], now: datetime) -> tuple[float, float]:
    """Return two Unix times, the second exclusive, between which the functions above give the same results."""
    moments = [
        moment
        for occurrence in occurrences
        for moment in (occurrence.starts_at - ANNOUNCED, occurrence.starts_at, occurrence.ends_at)
    ]
    last = max((moment for moment in moments if moment <= now), default=None)
    following = min((moment for moment in moments if moment > now), default=None)
    return last.timestamp() if last else -math.inf, following.timestamp() if following else math.inf


def retry_after(since: datetime | None, until: datetime | None, now: float, *, default: int, spread: int) -> int:
    """Return after how many seconds to try again (RFC 9110 section 10.2.3); `now` is a Unix time.

    Where the end is known, return the seconds until then and a random number more, so that clients do not come back
    all at once: up to `spread`, but at most a tenth of the maintenance's length, and at least 1.
    """
    if until is None:
        return default
    tenth = (until - since) // timedelta(seconds=10) if since else spread
    latest = max(1, min(spread, tenth))
    return max(1, math.ceil(until.timestamp() - now)) + random.randint(0, latest)  # noqa: S311 - nobody gains by guessing


def lets_through(maintenance: Maintenance, method: str, *, preflight: bool) -> bool:
    """Whether a request passes that is neither exempt nor bypassing.

    `preflight` says that it is a CORS preflight (Fetch standard, "CORS-preflight request"), which does nothing yet.
    """
    if not maintenance.active or preflight:
        return True
    return maintenance.mode == "read_only" and method in SAFE_METHODS


def _end_of_union(occurrences: Sequence[Occurrence], now: datetime) -> datetime | None:
    """Return when the open windows, and those that begin before these end, are all over."""
    end = None
    for occurrence in occurrences:
        if occurrence.is_open(now) or (end is not None and now < occurrence.starts_at <= end):
            end = max(end or occurrence.ends_at, occurrence.ends_at)
    return end
