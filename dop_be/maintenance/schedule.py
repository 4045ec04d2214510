"""Planned windows, and when they are open: pure functions, in which the time is an argument.

A window's start and end are UTC moments. One that recurs begins again at the same time on its zone's clock, and ends at
the same time on that clock, whatever daylight saving does between: 22:00 to 06:00 stays so. A start that the clock
jumps over moves forward by the gap, and of a time that it shows twice the first counts. Where the jump swallows the
whole window, it keeps its length in hours.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

from ..errors import InvalidInput
from .recurrence import MOST_KEPT, InvalidRule, Recurrence, recurrence, with_end

MOST_WINDOWS = 100
LONGEST = timedelta(days=31)
FURTHEST = timedelta(days=3653)
HORIZON = timedelta(days=4)  # how far the expansion for a UTC day goes
TRIAL = timedelta(days=366)  # within which occurrences of one window may not touch each other


@dataclass(frozen=True)
class Window:
    """A planned maintenance, or one that was opened `ad_hoc`; of the platform, or of a component.

    `ended_at` is when somebody last ended an occurrence of it early.
    """

    id: uuid.UUID
    starts_at: datetime
    ends_at: datetime
    mode: str = "full"
    message: str | None = None
    timezone: str = "UTC"
    rrule: str | None = None
    ended_at: datetime | None = None
    ad_hoc: bool = False
    component: str | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that a window is open, from `starts_at` to before `ends_at`."""

    starts_at: datetime
    ends_at: datetime
    window: Window

    def is_open(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at


def occurrences(window: Window, since: datetime) -> Iterator[Occurrence]:
    """Yield the occurrences that end after `since`, in order; a rule without an end has no last one.

    A rule that cannot be read, which only SQL can have stored, leaves the first occurrence.
    """
    for starts_at, planned_end in _intervals(window, since):
        ended = window.ended_at is not None and starts_at <= window.ended_at < planned_end
        ends_at = window.ended_at if ended and window.ended_at else planned_end
        if max(starts_at, since) < ends_at:
            yield Occurrence(starts_at, ends_at, window)


@dataclass(frozen=True, slots=True)
class Expanded:
    """The occurrences of all windows in order, as they count on the UTC day that begins at `day`."""

    day: datetime
    occurrences: tuple[Occurrence, ...]


@lru_cache(MOST_KEPT)
def expand(window: Window, day: datetime) -> tuple[Occurrence, ...]:
    """Return the occurrences from the beginning of `day` to the horizon, and the one after it."""
    found = []
    for occurrence in occurrences(window, day):
        found.append(occurrence)
        if occurrence.starts_at >= day + HORIZON:
            break
    return tuple(found)


def expand_all(windows: Iterable[Window], now: datetime) -> Expanded:
    """Expand every window for the UTC day of `now`."""
    day = midnight(now)
    found = (occurrence for window in windows for occurrence in expand(window, day))
    return Expanded(day, tuple(sorted(found, key=lambda found: (found.starts_at, found.ends_at, found.window.id))))


def midnight(now: datetime) -> datetime:
    """Return the beginning of the UTC day of `now`."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def current(window: Window, now: datetime) -> Occurrence | None:
    """Return the occurrence that is open at `now`, else the next one, None where the window is over."""
    return next(occurrences(window, now), None)


@lru_cache(MOST_KEPT)  # a rule that never occurs takes long to be found out
def is_sound(window: Window) -> bool:
    """Whether the window's zone and rule can be read."""
    try:
        _recurrence(window)
    except Exception:  # noqa: BLE001 - whatever a row holds, it must not keep every worker from reading any
        return False
    return True


def plan(  # noqa: PLR0913 - the fields of a window
    now: datetime,
    *,
    starts_at: datetime,
    ends_at: datetime,
    mode: str = "full",
    message: str | None = None,
    timezone: str | None = None,
    rrule: str | None = None,
    component: str | None = None,
    over_too: bool = False,
) -> Window:
    """Return a new window; naive times are those of `timezone`'s clock. It may be over already with `over_too` alone.

    Raises:
        InvalidInput: the window makes no sense, or not the sense that its times seem to say.
    """
    place = zone(timezone or "UTC")
    for name, moment in (("starts_at", starts_at), ("ends_at", ends_at)):
        if moment.tzinfo is None and timezone is None:
            raise _wrong(name, "A time without an offset needs a timezone.")
    if rrule is not None:  # a rule knows whole seconds
        starts_at, ends_at = starts_at.replace(microsecond=0), ends_at.replace(microsecond=0)
    begin, end = utc(starts_at, place), utc(ends_at, place)
    check_length(begin, end)
    if begin > now + FURTHEST:
        raise _wrong("starts_at", "Must be within the next ten years.")
    if rrule is not None:
        _check_rule(rrule.strip(), starts_at, begin, end, place)
        rrule = with_end(rrule.strip().upper().removeprefix("RRULE:"), _local(begin, place), place)
    window = Window(uuid.uuid4(), begin, end, mode, message, place.key, rrule, component=component)
    if not over_too:
        check_ahead(window, now)
    return window


def check_length(begin: datetime, end: datetime) -> None:
    """Raise InvalidInput unless a window may begin and end at these moments."""
    if end <= begin:
        raise _wrong("ends_at", "Must be after the start.")
    if end - begin > LONGEST:
        raise _wrong("ends_at", f"A window is open for {LONGEST.days} days at most; the switch has no end.")


def check_ahead(window: Window, now: datetime, otherwise: str = "The window is over already.") -> None:
    """Raise InvalidInput, with the sentence, where a window is over at `now`."""
    if current(window, now) is None:
        raise _wrong("ends_at", otherwise)


def split_from(window: Window, opened: Iterable[Occurrence]) -> Window | None:
    """Return the open window that an occurrence of this one became when its end was moved; None where there is none."""
    if window.ended_at is None:
        return None
    planned = current(replace(window, ended_at=None), window.ended_at)
    started = planned.starts_at if planned else None
    return next((one.window for one in opened if one.window.rrule is None and one.window.starts_at == started), None)


def zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name.

    Raises:
        InvalidInput: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError for a folder of zones, such as "America"
        raise _wrong("timezone", f"{name[:40]!r} is not an IANA time zone; try Europe/Berlin.") from error


def utc(moment: datetime, place: ZoneInfo) -> datetime:
    """Return a moment in UTC; a naive one is read on the clock of `place`, of two such times the first (PEP 495)."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=place, fold=0)).astimezone(UTC)


def _intervals(window: Window, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    place, rule = _recurrence(window) if is_sound(window) else (None, None)
    if place is None or rule is None:
        yield window.starts_at, window.ends_at
        return
    length = window.ends_at - window.starts_at
    shown = _local(window.ends_at, place) - rule.start
    for local in rule.starts(_local(since, place) - shown):
        starts_at, ends_at = utc(local, place), utc(local + shown, place)
        yield starts_at, ends_at if starts_at < ends_at else starts_at + length


def _recurrence(window: Window) -> tuple[ZoneInfo, Recurrence | None]:
    place = zone(window.timezone)
    if window.rrule is None:
        return place, None
    return place, recurrence(window.rrule, _local(window.starts_at.replace(microsecond=0), place), place)


def _check_rule(text: str, given: datetime, begin: datetime, end: datetime, place: ZoneInfo) -> None:
    start = _local(begin, place)
    if utc(start, place) != begin or (given.tzinfo is None and given != start):
        raise _wrong(
            "starts_at", f"A rule begins at a time that the clock of {place.key} shows, and for the first time."
        )
    try:
        starts = recurrence(text, start, place).starts(start)
    except InvalidRule as error:
        raise _wrong("rrule", str(error)) from error
    shown = _local(end, place) - start
    if any(later - earlier <= shown for earlier, later in pairwise(takewhile((start + TRIAL).__gt__, starts))):
        raise _wrong("rrule", "Recurs before it ends; occurrences must not overlap.")


def _local(moment: datetime, place: ZoneInfo) -> datetime:
    return moment.astimezone(place).replace(tzinfo=None)


def _wrong(field: str, sentence: str) -> InvalidInput:
    return InvalidInput({field: [sentence]})
