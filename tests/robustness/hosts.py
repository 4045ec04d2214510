"""A host of the platform: a gunicorn with a clock, a state file and a way to the database of its own."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .. import processes, undertaker
from ..conftest import ADMIN_TOKEN
from ..e2e.servers import START_SECONDS, children
from ..guard import sitecustomize as guard
from ..ports import free_port
from .record import Line, Recorder, now

WORKERS = 2
TAIL = 0.05  # seconds between two looks into a log


class Host:
    """One host; `environment` has what dop_be is told of its database."""

    def __init__(self, name: str, folder: Path, project: Path, environment: dict[str, str]) -> None:
        self.name, self.port, self.log = name, free_port(), folder / f"{name}.log"
        self._process: processes.Popen | None = None
        self._clock, self._folder, self._project = folder / f"{name} clock", folder, project
        self.set_clock(0.0)
        self.log.touch()
        self.environment = processes.environment(
            ADMIN_TOKEN=ADMIN_TOKEN,
            WEB_CONCURRENCY=str(WORKERS),
            STATE_FILE=str(folder / f"{name} state.json"),
            TRUSTED_PROXY_HOPS="1",
            **{guard.CLOCK: str(self._clock)},
            **environment,
        )

    @property
    def master(self) -> processes.Popen:
        assert self._process is not None, "this host was never started"
        return self._process

    def start(self) -> None:
        """Start the master, and wait until all workers are there."""
        command = ["gunicorn", "--bind", f"127.0.0.1:{self.port}", "--pid", str(self._folder / f"{self.name}.pid")]
        with self.log.open("ab") as log:
            self._process = processes.start(command, cwd=self._project, env=self.environment, stdout=log, stderr=log)
        self.wait()

    def wait(self) -> None:
        """Wait until it has all its workers.

        Raises:
            RuntimeError: it does not get them.
        """
        deadline = time.monotonic() + START_SECONDS
        while len(self.workers()) < WORKERS:
            if time.monotonic() > deadline or self.master.poll() is not None:
                raise RuntimeError(f"host {self.name} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """The worker processes that run, in the order of their numbers."""
        with suppress(OSError):
            running = {process.pid for process in undertaker.processes()}
            return sorted(set(children(self.master.pid)) & running)
        return []

    def kill(self) -> None:
        """End the master with SIGKILL, and a moment later its workers, as a container's end does."""
        self.master.send_signal(signal.SIGKILL)
        processes.end(self.master)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is None:
            return
        for process in (self.master.pid, *self.workers()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        processes.end(self.master)

    def set_clock(self, ahead: float) -> None:
        """Set the clock of all its processes, in one step as they see it."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(ahead))
        new.rename(self._clock)


class Tail(threading.Thread):
    """Records the lines that the hosts log, when they come."""

    def __init__(self, hosts: list[Host], record: Recorder) -> None:
        super().__init__(name="tail", daemon=True)
        self._hosts, self._record, self._ended = hosts, record, threading.Event()
        self._begun = dict.fromkeys((host.name for host in hosts), b"")

    def run(self) -> None:
        files = {host.name: host.log.open("rb") for host in self._hosts}
        ended = False
        while not ended:
            ended = self._ended.wait(TAIL)
            for host, file in files.items():
                for line in self._lines(host, file.read()):
                    self._record(_line(host, line))
        for file in files.values():
            file.close()

    def _lines(self, host: str, new: bytes) -> Iterator[str]:
        *whole, self._begun[host] = (self._begun[host] + new).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _line(host: str, text: str) -> Line:
    """A line of ours is a JSON object; gunicorn's own, and a traceback, are not."""
    with suppress(ValueError):
        told = json.loads(text)
        event = " ".join(str(told[name]) for name in ("event", "exception") if told.get(name))
        return Line(host, now(), str(told.get("level", "")), event)
    return Line(host, now(), "", text)
