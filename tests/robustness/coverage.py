"""What runs have covered: how often each operation was under way while each fault was in force."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from .record import Fault, History, Read, Write

NO_FAULT = "(no fault)"
Covered = Counter[tuple[str, str]]  # by fault and operation


def covered(history: History) -> Covered:
    """Count each call of a run once for each kind of fault that was in force meanwhile."""
    found: Covered = Counter()
    calls: list[Write | Read] = [*history.writes, *history.reads]
    for call in calls:
        kinds = {fault.kind for fault in _meanwhile(history.faults, call)} or {NO_FAULT}
        found.update((kind, _operation(call)) for kind in kinds)
    return found


def _meanwhile(faults: list[Fault], call: Write | Read) -> Iterable[Fault]:
    begun = bisect_left(faults, call.received, key=lambda fault: fault.begin)
    return (fault for fault in faults[:begun] if fault.end > call.sent)


def _operation(call: Write | Read) -> str:
    if isinstance(call, Write):
        return f"{call.client}: {call.kind.replace('_', ' ')}"
    return f"read {call.question}{' with bypass' if call.bypass else ''}"


def table(counted: Covered) -> str:
    """The counts as a table: a line for each operation, a column for each fault."""
    faults = sorted({fault for fault, _ in counted})
    operations = sorted({operation for _, operation in counted})
    names = [f"{chr(ord('a') + number)} = {fault}" for number, fault in enumerate(faults)]
    widths = [max(6, *(len(f"{counted[fault, operation]:,}") for operation in operations)) for fault in faults]
    wide = max(map(len, operations), default=0)
    heads = " ".join(f"{chr(ord('a') + number):>{width}}" for number, width in enumerate(widths))
    lines = [
        f"{operation:{wide}} "
        + " ".join(f"{counted[fault, operation]:>{width},}" for fault, width in zip(faults, widths, strict=True))
        for operation in operations
    ]
    return "\n".join([", ".join(names), f"{'':{wide}} {heads}", *lines])
