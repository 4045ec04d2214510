"""Ends what a test run started and left behind, also when the run itself was killed; it needs no other module.

The run holds the other end of this process's input. Lines: `+PID START`, a session that began, `-PID START`, one that
was ended, and `folder PATH`, to be deleted. At the end of the input, whatever brought it, what is left is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30.0  # seconds until the killed are gone


class Process(NamedTuple):
    pid: int
    parent: int
    session: int
    started: int  # in clock ticks since boot: tells a process from a later one with the same number


def processes() -> list[Process]:
    """Every process but zombies, which hold nothing any more (proc(5), /proc/pid/stat)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                name, _, rest = (folder / "stat").read_text().rpartition(")")
                fields = rest.split()
                if fields[0] not in {"Z", "X"}:
                    found.append(Process(int(name.split()[0]), int(fields[1]), int(fields[3]), int(fields[19])))
    return found


def identity(pid: int) -> tuple[int, int]:
    """The number of a process with the time of its start."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return pid, int(stat.rpartition(")")[2].split()[19])


def left(sessions: Iterable[tuple[int, int]], running: list[Process]) -> set[Process]:
    """Who still runs of these sessions and of their descendants, which may have sessions of their own."""
    started = {process.pid: process.started for process in running}
    ours = {pid for pid, start in sessions if started.get(pid, start) == start}
    found = {process for process in running if process.pid in ours or process.session in ours}
    while True:
        parents = {process.pid for process in found}
        more = {process for process in running if process.parent in parents} - found
        if not more:
            return found
        found |= more


def end(sessions: Iterable[tuple[int, int]]) -> None:
    """Kill these sessions and their descendants, and wait until they are gone."""
    sessions, deadline = list(sessions), time.monotonic() + PATIENCE
    ending: set[Process] = set()
    while new := left(sessions, processes()) - ending:  # what is stopped starts no other process
        send(signal.SIGSTOP, new)
        ending |= new
    send(signal.SIGKILL, ending)
    numbers = {(process.pid, process.started) for process in ending}
    while numbers & {(process.pid, process.started) for process in processes()} and time.monotonic() < deadline:
        time.sleep(0.002)


def send(sent: signal.Signals, to: Iterable[Process]) -> None:
    for process in to:
        with suppress(ProcessLookupError):
            os.kill(process.pid, sent)


def main() -> None:
    sessions: set[tuple[int, int]] = set()
    folders: list[str] = []
    for line in sys.stdin:
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "folder":
            folders.append(rest)
        else:
            change = sessions.add if kind.startswith("+") else sessions.discard
            change((int(kind[1:]), int(rest)))
    end(sessions)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
