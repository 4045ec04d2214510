"""Which local times a window begins at: the rules of RFC 5545 that a window may have, iterated by dateutil. Pure.

Everything here is naive wall-clock time of the window's zone.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import cast
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from dateutil.rrule import rrule, rrulestr

NUMBERS = r"[+-]?\d{1,3}(,[+-]?\d{1,3})*"
# What a rule may say, and how: parts for hours and below that could make it occur every second are left out, and so are
# values that dateutil would take for something else, such as INTERVAL=0, which never ends.
PARTS = {
    "FREQ": r"YEARLY|MONTHLY|WEEKLY|DAILY",
    "INTERVAL": r"0*[1-9]\d{0,2}",
    "COUNT": r"0*[1-9]\d{0,2}",
    "UNTIL": r"\d{8}(T\d{6}Z?)?",
    "WKST": r"MO|TU|WE|TH|FR|SA|SU",
    "BYDAY": r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)(,([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU))*",
    "BYMONTHDAY": NUMBERS,
    "BYMONTH": r"(0?[1-9]|1[0-2])(,(0?[1-9]|1[0-2]))*",
    "BYSETPOS": NUMBERS,
    "BYHOUR": r"([01]?\d|2[0-3])(,([01]?\d|2[0-3]))*",
}
DAYS = "MO, TU, WE, TH, FR, SA and SU"
ACCEPTED = {  # in the words of an error
    "FREQ": "YEARLY, MONTHLY, WEEKLY or DAILY",
    "INTERVAL": "1 to 999",
    "COUNT": "1 to 999",
    "UNTIL": "20271231, 20271231T235900 or 20271231T235900Z",
    "WKST": f"one of {DAYS}",
    "BYDAY": f"{DAYS}, with commas between; in a month or year also 1MO or -1SU",
    "BYMONTHDAY": "numbers such as 1,15 or -1",
    "BYMONTH": "1 to 12, with commas between",
    "BYSETPOS": "numbers such as 1 or -1",
    "BYHOUR": "0 to 23, with commas between",
}
PERIODS = {
    "DAILY": relativedelta(days=1),
    "WEEKLY": relativedelta(days=7),
    "MONTHLY": relativedelta(months=1),
    "YEARLY": relativedelta(years=1),
}
MOST_KEPT = 16_384  # results that are kept of each kind; SQL may store more windows than the API plans
END_OF_TIME = datetime(9000, 1, 1)  # noqa: DTZ001 - local; dateutil itself goes on to a year that UTC cannot hold
WHOLE_CALENDAR = 10_000 * 366  # an interval, in whatever period, that ends every search after the first period


class InvalidRule(ValueError):
    """The text is no rule that a window may have; the message is a sentence that says why."""


@dataclass(frozen=True)
class Recurrence:
    """A rule from its first start to `until`; `period` is one step of it."""

    rule: rrule
    start: datetime
    until: datetime | None
    period: relativedelta

    def starts(self, since: datetime) -> Iterator[datetime]:
        """Return the starts in order, from some start before `since`, or from the first."""
        return takewhile(END_OF_TIME.__gt__, self.rule.replace(dtstart=self._anchor(since), until=self.until))

    def _anchor(self, since: datetime) -> datetime:
        """Return a moment shortly before `since` from which the rule goes on as from its start: periods are skipped.

        Asking a daily rule of five years ago for its next start would otherwise go through 1,800 days.
        """
        months = self.period.months + 12 * self.period.years
        if months:
            passed = (since.year - self.start.year) * 12 + since.month - self.start.month
            skipped = passed // months - 1
        else:
            skipped = (since - self.start).days // self.period.days - 1
        if skipped < 1:
            return self.start
        # Months differ in length, so go by their first day, which comes before whatever the rule picks from the month.
        return (self.start.replace(day=1) if months else self.start) + self.period * skipped


@lru_cache(MOST_KEPT)
def recurrence(text: str, start: datetime, zone: ZoneInfo) -> Recurrence:
    """Read a rule, with or without `RRULE:` before it, for a window that first begins at `start`.

    Raises:
        InvalidRule: also where the rule does not pick `start` itself, which RFC 5545 section 3.8.5.3 leaves undefined.
    """
    parts = rule_parts(text)
    until = _until(parts.pop("UNTIL"), zone) if "UNTIL" in parts else None
    period = PERIODS[parts["FREQ"]] * int(parts.get("INTERVAL", "1"))
    spelled = ";".join(f"{name}={value}" for name, value in _explicit(parts, start).items())
    try:
        rule = cast(rrule, rrulestr(spelled, dtstart=start))
        # Only the first period: a rule that never occurs would be searched for seconds, until the year 9999.
        first = next(iter(rule.replace(interval=WHOLE_CALENDAR, until=until)), None)
    except (ValueError, LookupError) as error:  # dateutil's, over days and months that do not exist
        raise InvalidRule(f"{error}.") from error
    if first != start:
        raise InvalidRule(
            f"Does not pick the window's start, {start} on the zone's clock: begin at a time that it picks."
        )
    if "COUNT" in parts:  # counted once, and not from the first start each time
        until = _last(
            rule, start, period, int(parts["COUNT"]), plain=parts.keys() <= {"FREQ", "INTERVAL", "COUNT", "WKST"}
        )
    return Recurrence(rule.replace(count=None), start, until, period)


def _last(rule: rrule, start: datetime, period: relativedelta, count: int, *, plain: bool) -> datetime:
    """Return the last start of a rule with COUNT; `plain` says that it picks nothing within its periods."""
    if plain and period.days:
        return start + period * (count - 1)
    return deque(takewhile(END_OF_TIME.__gt__, rule), maxlen=1).pop()


def with_end(text: str, start: datetime, zone: ZoneInfo) -> str:
    """Return the rule with UNTIL in place of COUNT, which has to be counted from the first start.

    Raises:
        InvalidRule: as `recurrence` does.
    """
    parts = rule_parts(text)
    if "COUNT" not in parts:
        return text
    said = {"COUNT": f"UNTIL={recurrence(text, start, zone).until:%Y%m%dT%H%M%S}"}
    return ";".join(said.get(name, f"{name}={value}") for name, value in parts.items())


def rule_parts(text: str) -> dict[str, str]:
    """Return the parts of a rule by name, in upper case and in their order; errors quote what was written.

    Raises:
        InvalidRule: a part is unknown, twice, malformed, or does not go with another.
    """
    parts: dict[str, str] = {}
    for part in re.sub("^RRULE:", "", text, flags=re.IGNORECASE).split(";"):
        written, _, value = part.partition("=")
        name = written.upper()
        if name not in PARTS:
            known = f"use {', '.join(PARTS)}, such as FREQ=WEEKLY;BYDAY=SU"
            raise InvalidRule(f"{written[:20]!r} is not a part of a rule; {known}.")
        if name in parts:
            raise InvalidRule(f"{name} is there twice; write it once.")
        if not re.fullmatch(PARTS[name], value.upper(), re.ASCII):
            raise InvalidRule(f"{name} cannot be {value[:40]!r}; use {ACCEPTED[name]}.")
        parts[name] = value.upper()
    if "FREQ" not in parts:
        raise InvalidRule(f"Needs FREQ: {ACCEPTED['FREQ']}.")
    if {"COUNT", "UNTIL"} <= parts.keys():
        raise InvalidRule("Expected COUNT or UNTIL, not both.")
    if parts["FREQ"] in {"DAILY", "WEEKLY"} and re.search(r"\d", parts.get("BYDAY", "")):
        raise InvalidRule(f"A number in BYDAY does not go with FREQ={parts['FREQ']}.")
    return parts


def _explicit(parts: dict[str, str], start: datetime) -> dict[str, str]:
    """Return the rule with the days that follow from its start written out, so that it may begin later."""
    if parts["FREQ"] in {"DAILY", "WEEKLY"} or {"BYDAY", "BYMONTHDAY"} & parts.keys():
        return parts
    month = {} if parts["FREQ"] == "MONTHLY" or "BYMONTH" in parts else {"BYMONTH": str(start.month)}
    return {**parts, **month, "BYMONTHDAY": str(start.day)}


def _until(text: str, zone: ZoneInfo) -> datetime:
    """Return the last moment that UNTIL leaves, on the zone's clock; a date leaves the whole day."""
    try:
        if text.endswith("Z"):
            moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return moment.astimezone(zone).replace(tzinfo=None)
        if "T" in text:
            return datetime.strptime(text, "%Y%m%dT%H%M%S")  # noqa: DTZ007 - local, as all times here
        return datetime.strptime(text, "%Y%m%d") + timedelta(days=1, microseconds=-1)  # noqa: DTZ007 - same
    except (ValueError, OverflowError) as error:
        raise InvalidRule(f"UNTIL cannot be {text!r}; use {ACCEPTED['UNTIL']}.") from error
