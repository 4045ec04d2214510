"""Carries out a plan, and writes its record."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..clock import eventually
from ..e2e.visitors import ask as visit
from ..e2e.workers import connections
from . import database_faults, process_faults, successions  # noqa: F401 - each adds its faults
from .clients import Stage, Writer
from .faults import Faults
from .hosts import Tail
from .operators import Operator
from .plan import QUIET, Plan, Trouble
from .readers import ask, readers
from .record import Recorder, Run, Stall, now
from .shell import Shell
from .system import System, built
from .templates import Template
from .visitor import Visitor

TICK, LATE = 0.02, 0.1  # seconds between two looks at the clock, and from which on the machine was late
PATIENCE = 60.0  # seconds for threads to end


class Failed(Exception):
    """The run itself went wrong, so that its record proves nothing."""


def run(plan: Plan, template: Template, folder: Path) -> Path:
    """Carry out a plan; the path of its record.

    Raises:
        Failed: some part of the test itself did not do what it was to do.
    """
    path = folder / "record.jsonl"
    record = Recorder(path)
    try:
        record(Run(plan.seed, plan.topology, plan.seconds))
        with built(plan, template, folder) as system, _stalls(record):
            _carry_out(plan, system, record)
            for host in system.hosts.values():
                host.stop()  # before an old primary is started to be read
            for epoch in system.epochs():
                record(epoch)
    finally:
        record.close()
    return path


def _carry_out(plan: Plan, system: System, record: Recorder) -> None:
    stage, tail = Stage(system, record, plan.seed), Tail(list(system.hosts.values()), record)
    tail.start()
    eventually(PATIENCE, lambda: _all_ready(system))
    began, broken = now(), list[BaseException]()
    askers, writers = readers(stage), [*_writers(plan, stage)]
    troublers = [
        threading.Thread(
            target=_trouble, args=(Faults(system, record), troubles, began, broken), name=name, daemon=True
        )
        for name, troubles in plan.troubles.items()
    ]
    for thread in (*askers, *writers, *troublers):
        thread.start()
    for thread in (*writers, *troublers):
        thread.join(PATIENCE + plan.seconds)
        if thread.is_alive():
            broken.append(Failed(f"{thread.name} does not end"))
    time.sleep(max(6.0, began + plan.seconds - now()))
    for asker in askers:
        asker.stop()
    for asker in askers:
        asker.join(PATIENCE)
    if not broken:
        _ask_all(system, record)
    tail.stop()
    if broken:
        raise Failed(str(broken[0])) from broken[0]


def _all_ready(system: System) -> bool:
    return all(visit(host.port, "GET", "/readyz").status == 200 for host in system.hosts.values() for _ in range(4))


def _writers(plan: Plan, stage: Stage) -> Iterator[Writer]:
    for name, steps in plan.steps.items():
        given = (name, steps, stage, plan.seconds - QUIET)
        if name == "shell":
            yield Shell(*given)
        elif name == "sql":
            yield Operator(*given)
        else:
            yield Visitor(*given, tokens=name == "bob")


def _trouble(faults: Faults, troubles: tuple[Trouble, ...], began: float, broken: list[BaseException]) -> None:
    try:
        for trouble in troubles:
            time.sleep(max(0.0, began + trouble.at - now()))
            faults.do(trouble)
    except BaseException as error:  # noqa: BLE001 - the run says it
        broken.append(error)


def _ask_all(system: System, record: Recorder) -> None:
    """Ask every worker what it has in the end."""
    for host in system.hosts.values():
        for worker, connection in connections(host.port, host.workers()).items():
            for question in ("settings", "maintenance", "gate"):
                ask(connection, record, host.name, worker, question, method="POST", at_the_end=True)
            connection.close()


@contextmanager
def _stalls(record: Recorder) -> Iterator[None]:
    """Record when the machine let this process wait during the block."""
    ended = threading.Event()

    def watch() -> None:
        last = now()
        while not ended.wait(TICK):
            if now() - last > LATE:
                record(Stall(last, now()))
            last = now()

    thread = threading.Thread(target=watch, name="stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
