"""What every client that asks for changes is made of. Each does the steps of its plan one after the other."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .plan import Step
from .record import Outcome, Recorder, Write, now
from .system import System

LIMIT = 10.0  # seconds after which a client gives up
UNKNOWN: Outcome = "unknown"
UNSURE = "look before you try again"  # what an error says after which something may have been done


@dataclass
class Known:
    """What all clients know of: the windows and the tokens there were, revoked ones too."""

    windows: list[str] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)  # name and text
    bypasses: list[tuple[str, str]] = field(default_factory=list)
    revision: int = 1


@dataclass(frozen=True)
class Stage:
    """What everybody who takes part in a run shares."""

    system: System
    record: Recorder
    seed: int
    known: Known = field(default_factory=Known)


def one(of: list[Any], share: float) -> Any:
    """The one at a share of the list's length, 1 exclusive; None of an empty list."""
    return of[int(share * len(of))] if of else None


@dataclass(frozen=True)
class Call:
    """A write that begins now, as `Write` has it."""

    id: str
    kind: str
    asked: dict[str, Any]
    sent: float = field(default_factory=now)


class Writer(threading.Thread):
    """A client with the steps of its plan; `do` does one, and is each kind's own."""

    def __init__(self, name: str, steps: tuple[Step, ...], stage: Stage, busy: float) -> None:
        super().__init__(name=name, daemon=True)
        self._steps, self._busy, self._began = steps, busy, now()
        self.system, self.known, self.record = stage.system, stage.known, stage.record
        self._numbers, self.dice = 0, random.Random(f"{stage.seed} {name}")

    def run(self) -> None:
        """Do the steps; what there is no time left for, on a slow machine or after waits, is left out."""
        for step in self._steps:
            time.sleep(max(0.0, self._began + step.at - now()))
            if now() > self._began + self._busy:
                return
            self._numbers += 1
            self.do(f"{self.name}-{self._numbers}", step)

    def do(self, identifier: str, step: Step) -> None:
        raise NotImplementedError

    def told(self, call: Call, outcome: Outcome, author: str, **answered: Any) -> None:
        """Record what became of a call; `answered` are the further fields of `Write`."""
        written = Write(call.id, self.name, call.kind, author, call.sent, now(), outcome, asked=call.asked, **answered)
        self.record(written)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
