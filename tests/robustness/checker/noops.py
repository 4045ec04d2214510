"""Whether a write that left no trace may have changed nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..record import Write
from .case import Case
from .policy import TOLERANCE
from .restored import wanted
from .states import Step

SWITCHED = {"active": "is_maintain", "mode": "maintenance_mode", "message": "maintenance_message"}
Question = Callable[[Case, Write, Step], bool]


def may_change_nothing(case: Case, write: Write) -> bool:
    """Whether in some state that a write can have met everything is already as it asks."""
    question = QUESTIONS.get(write.kind)
    if question is None:
        return False
    return any(_expected(write, step) and question(case, write, step) for step in _steps(case, write))


def _steps(case: Case, write: Write) -> list[Step]:
    return [case.states.steps[index] for index in case.bounds.range(write)]


def _expected(write: Write, step: Step) -> bool:
    expected = write.asked.get("if_match")
    return expected is None or step.state.settings["revision"] == expected


def _patch(case: Case, write: Write, step: Step) -> bool:
    return _has(step, write.asked.get("values") or {})


def _switch(case: Case, write: Write, step: Step) -> bool:
    """Whether it is already so; one with an end changes nothing only where such a window is open already."""
    ends_at, active = write.asked.get("ends_at"), bool(write.asked.get("active"))
    if ends_at is not None:
        windows = step.state.windows.values()
        return any(window.ad_hoc and abs(window.ends_at.timestamp() - ends_at) <= TOLERANCE for window in windows)
    if active:
        asked = {field: write.asked[name] for name, field in SWITCHED.items() if name in write.asked}
        return _has(step, asked)
    return any(not found.active for found in case.policy.meanwhile(step.index, write.sent, write.received))


def _restore(case: Case, write: Write, step: Step) -> bool:
    values = wanted(case.states.life(step.index), write)
    return values is not None and _has(step, values)


def _cancel(case: Case, write: Write, step: Step) -> bool:
    return write.asked.get("window") not in step.state.windows


def _revoke(case: Case, write: Write, step: Step) -> bool:
    return write.asked.get("token") not in step.state.tokens


def _has(step: Step, values: Mapping[str, Any]) -> bool:
    return all(step.state.settings.get(field) == value for field, value in values.items())


QUESTIONS: Mapping[str, Question] = {
    "patch": _patch,
    "switch": _switch,
    "restore": _restore,
    "undo": _restore,
    "cancel": _cancel,
    "revoke_token": _revoke,
}
