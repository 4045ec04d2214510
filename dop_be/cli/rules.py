"""How `--every` is written at a shell: by a word, or by a rule of which the shell may have cut something off. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..errors import InvalidInput
from ..maintenance.schedule import Window, zone
from .output import short

# Each picks the window's start, whatever that is; the days and the minute follow from it.
WORDS = {
    "hourly": f"FREQ=DAILY;BYHOUR={','.join(map(str, range(24)))}",
    "daily": "FREQ=DAILY",
    "weekly": "FREQ=WEEKLY",
    "monthly": "FREQ=MONTHLY",
}
KNOWN = "hourly, daily, weekly or monthly"
QUOTE = "quote the whole rule, --every 'FREQ=WEEKLY;BYDAY=SU'"
SHORTEST_MONTH = 28  # days


def spelled(given: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a window with the rule that a word stands for."""
    every = given.get("rrule", "")
    return {**given, **({"rrule": WORDS[every.strip().lower()]} if every.strip().lower() in WORDS else {})}


@contextmanager
def explained(every: str | None) -> Iterator[None]:
    """Add to an error what `--every` takes, and what to quote where the shell may have cut the rule off."""
    try:
        yield
    except InvalidInput as error:
        hint = _hint(every, wrong="--every" in error.errors)
        if hint is None:
            raise
        *others, (name, texts) = error.errors.items()
        raise InvalidInput({**dict(others), name: [*texts, hint]}) from error


def _hint(every: str | None, *, wrong: bool) -> str | None:
    if every is None:
        return None
    if _may_be_cut(every):
        return f"If a ; followed {every.strip()}, the shell ended the command there: {QUOTE}."
    return f"A word may be {KNOWN}." if wrong and "=" not in every else None


def _may_be_cut(every: str) -> bool:
    """Whether it is one part of a rule, or ends where a further part would begin."""
    return "=" in every and (";" not in every or every.rstrip().endswith(";"))


def doubt(every: str | None, window: Window) -> str | None:
    """Return what to look at again in a window that was planned, if there is anything."""
    if every is None:
        return None
    if _may_be_cut(every):
        again = f"cancel window {short(window.id)} and {QUOTE}"
        return f"--every was {every.strip()} alone: if a ; followed, the shell ended the command there; {again}"
    day = window.starts_at.astimezone(zone(window.timezone)).day
    if every.strip().lower() == "monthly" and day > SHORTEST_MONTH:
        return f"months without a day {day} are left out; FREQ=MONTHLY;BYMONTHDAY=-1 is the last day of each month"
    return None
