"""What the properties are asked about: a history, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..record import History, Read, Write
from .bounds import Bounds, Placed
from .disturbances import Disturbances
from .policy import Policy
from .states import States, states

Found = Iterator[tuple[str, float]]  # sentences, each with the time that it is about


@dataclass(frozen=True)
class Case:
    """A history with its states and the places of its answers among them."""

    history: History
    states: States
    policy: Policy
    disturbances: Disturbances
    bounds: Bounds

    @property
    def placed(self) -> list[Placed]:
        return self.bounds.placed


Property = Callable[[Case], Found]


def case(history: History) -> Case:
    """Replay a history."""
    replayed = states(history.epochs)
    begin = min([write.sent for write in history.writes] + [read.sent for read in history.reads], default=0.0)
    disturbances = Disturbances(history)
    policy = Policy(replayed, disturbances, begin)
    return Case(history, replayed, policy, disturbances, Bounds(history, replayed, policy, disturbances))


def name(event: Write | Read) -> str:
    """Say which write or worker a sentence is about."""
    if isinstance(event, Write):
        return f"the {event.kind} {event.id} of {event.client}"
    asked = f"{event.method} " if event.question in ("gate", "platform") else ""
    return f"worker {event.worker} of {event.host}, asked {asked}{event.question} at {event.sent:.3f},"
