"""The property of writes that nothing stands in the way of."""

from __future__ import annotations

from .case import Case, Found, name


def writes_are_taken(case: Case) -> Found:
    """Yield writes that nothing disturbed and the service all the same did not take, through no fault of the caller.

    What the caller is blamed for, by a status below 500, other properties look at, and what a command says too.
    """
    for write in case.history.writes:
        refused = write.outcome != "acknowledged" and write.client not in {"shell", "sql"}
        if refused and (write.status is None or write.status >= 500) and not case.disturbances.over(write):
            told = write.answer.get("detail") or write.status
            yield f"{name(write)} was not taken, undisturbed: {told}", write.received
