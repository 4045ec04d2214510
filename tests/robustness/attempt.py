"""One seed: its run, its check, and its record where that failed."""

from __future__ import annotations

import atexit
import shutil
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import processes
from .checker import check
from .coverage import Covered, covered
from .plan import plan
from .record import load
from .run import run
from .templates import Template, template

KEPT = processes.ROOT / ".robustness"
_made = ExitStack()
SHOWN = 12  # violations that are told of one run


@dataclass(frozen=True)
class Attempt:
    """What a seed came to.

    `done` of its `writes` were acknowledged; `wrong` are sentences, none where every promise was kept.
    """

    seed: int
    topology: str
    writes: int
    done: int
    reads: int
    faults: int
    wrong: list[str]
    covered: Covered

    def __str__(self) -> str:
        counts = f"{self.topology}, {self.writes} writes ({self.done} done), {self.reads} reads, {self.faults} faults"
        return "\n    ".join([f"seed {self.seed}: {counts}: {'FAILED' if self.wrong else 'kept'}", *self.wrong])


def attempt(seed: int, seconds: float, template: Template) -> Attempt:
    """Run a seed and check it. The record of one that failed stays in .robustness/, with the logs of its hosts.

    Raises:
        run.Failed: the run itself went wrong.
    """
    folder = processes.folder(f"seed-{seed}")
    folder.chmod(0o755)
    kept = KEPT / f"seed-{seed}"
    shutil.rmtree(kept, ignore_errors=True)
    try:
        history = load(run(plan(seed, seconds), template, folder))
        violations = check(history)
        wrong = [f"{each.property}: {each.told}" for each in violations[:SHOWN]]
        if len(violations) > SHOWN:
            wrong.append(f"and {len(violations) - SHOWN} more")
    except BaseException:
        _keep(folder, kept)
        raise
    if wrong:
        _keep(folder, kept)
        wrong.append(f"the record is in {kept}")
    shutil.rmtree(folder)
    done = sum(write.outcome == "acknowledged" for write in history.writes)
    counts = len(history.writes), done, len(history.reads), len(history.faults)
    return Attempt(seed, history.run.topology, *counts, wrong, covered(history))


@cache
def _template() -> Template:
    """The template of this process, which goes with it."""
    made = _made.enter_context(template())
    atexit.register(_made.close)  # before the folders are deleted: what is registered later is called first
    return made


def attempt_or_tell(seed: int, seconds: float) -> Attempt:
    """Do as `attempt` does; what goes wrong with the run itself is told in the same way, so that other seeds go on."""
    try:
        return attempt(seed, seconds, _template())
    except Exception:  # noqa: BLE001 - whatever it is
        told = ["the run itself went wrong:", *traceback.format_exc().splitlines()]
        return Attempt(seed, plan(seed, seconds).topology, 0, 0, 0, 0, told, Counter())


def _keep(folder: Path, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("*.log", "record.jsonl"):
        for file in folder.glob(name):
            shutil.copy(file, kept)
