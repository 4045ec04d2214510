"""Times for people: on this host's clock, with the name of its zone, and how long from now. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)  # as `fields.timestamp` writes it


def local(moment: datetime) -> str:
    """Return a moment on this host's clock, with the name of its zone."""
    there = _there(moment)
    return f"{_clock(there)} {_zone(there)}"


def when(moment: datetime, now: datetime) -> str:
    """Return a moment on this host's clock, and how long from now that is."""
    return f"{local(moment)} ({distance(moment, now)})"


def span(starts_at: datetime, ends_at: datetime) -> str:
    """Return two moments on this host's clock, and what is the same for both once."""
    first, last = _there(starts_at), _there(ends_at)
    begins = _clock(first) if _zone(first) == _zone(last) else local(starts_at)
    ends = _clock(last).partition(" ")[2] if first.date() == last.date() else _clock(last)
    return f"{begins} to {ends} {_zone(last)}"


def distance(moment: datetime, now: datetime) -> str:
    """Return how long from now a moment is: `in 12 min`, `3 h ago`, `now`."""
    seconds = round((moment - now).total_seconds())
    if seconds == 0:
        return "now"
    return f"in {_length(seconds)}" if seconds > 0 else f"{_length(-seconds)} ago"


def _length(seconds: int) -> str:
    """Return a time in the one or two units that say it best."""
    if seconds < MINUTE:
        return f"{seconds} s"
    if (minutes := round(seconds / MINUTE)) < HOUR // MINUTE:
        return f"{minutes} min"
    if minutes < DAY // MINUTE:
        return _units(divmod(minutes, HOUR // MINUTE), "h", "min")
    days, hours = divmod(round(seconds / HOUR), DAY // HOUR)
    return _units((days, hours if days < 10 else 0), "d", "h")


def _units(numbers: tuple[int, int], *names: str) -> str:
    return " ".join(f"{number} {name}" for number, name in zip(numbers, names, strict=True) if number)


def _there(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):  # what SQL has stored need not be a time of this host's calendar
        return moment.astimezone(UTC)


def _clock(moment: datetime) -> str:
    seconds = "" if moment.second == 0 else f":{moment:%S}"
    return f"{moment.isoformat(' ', 'minutes')[:16]}{seconds}"


def _zone(moment: datetime) -> str:
    name = moment.tzname() or "UTC"
    return name if name[0].isalpha() else f"UTC{name}"  # some zones are named by their offset alone


def moment_of(recorded: Any) -> Any:
    """Return the moment that a value of a JSON document tells; any other value as it is."""
    if not isinstance(recorded, str) or not TIMESTAMP.fullmatch(recorded):
        return recorded
    try:
        return datetime.fromisoformat(recorded)
    except ValueError:
        return recorded
