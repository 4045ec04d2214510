"""Proves properties over the record of a run, and over nothing else. It shares only pure functions with the service.

`states` replays what the databases recorded, `policy` says what a state answers, `disturbances` and `bounds` say from
which states an answer may come, and `properties` names what is proved.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..record import History
from .case import case
from .properties import PROPERTIES
from .writes import lost_with_the_old_database

__all__ = ["PROPERTIES", "Violation", "check", "summary"]


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: the property's name, a sentence, and the time that it is about."""

    property: str
    told: str
    at: float


def check(history: History) -> list[Violation]:
    """Return all that contradicts the properties, each once."""
    asked = case(history)
    found = (Violation(name, told, at) for name, violations in PROPERTIES.items() for told, at in violations(asked))
    return list(dict.fromkeys(found))


def summary(history: History) -> dict[str, int]:
    """Count what is worth knowing and breaks no promise."""
    asked = case(history)
    return {
        "states": len(asked.states.steps),
        "lost_with_the_old_database": lost_with_the_old_database(asked),
    }
