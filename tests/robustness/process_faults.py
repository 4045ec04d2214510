"""Faults of the hosts: their processes and their clocks."""

from __future__ import annotations

import signal
import time

from ..clock import eventually
from .faults import PATIENCE, Faults, does, pause, send
from .plan import Trouble


@does("kill a worker")
def kill_worker(faults: Faults, trouble: Trouble) -> None:
    host, worker = faults.host(trouble), faults.worker(trouble)
    if worker is not None:
        with faults.disturbing(trouble, f"worker {worker}"):
            send([worker], signal.SIGKILL)
            eventually(PATIENCE, lambda: worker not in host.workers())
            host.wait()


@does("stop a worker")
def stop_worker(faults: Faults, trouble: Trouble) -> None:
    worker = faults.worker(trouble)
    if worker is not None:
        with faults.disturbing(trouble, f"worker {worker}"):
            pause([worker], trouble.seconds)


@does("kill the master")
def kill_master(faults: Faults, trouble: Trouble) -> None:
    host = faults.host(trouble)
    with faults.disturbing(trouble, f"host {host.name}"):
        host.kill()
        time.sleep(trouble.seconds / 2)
        host.start()


@does("stop the master")
def stop_master(faults: Faults, trouble: Trouble) -> None:
    """The workers go on."""
    with faults.disturbing(trouble, "nobody"):
        pause([faults.host(trouble).master.pid], trouble.seconds)


@does("set a clock")
def set_clock(faults: Faults, trouble: Trouble) -> None:
    """What is in force goes by the database's clock, so that nobody has an excuse."""
    host = faults.host(trouble)
    with faults.disturbing(trouble, "nobody", f"{host.name} by {trouble.how['ahead']:+.0f} s"):
        host.set_clock(trouble.how["ahead"])
        time.sleep(trouble.seconds)
        host.set_clock(0.0)
