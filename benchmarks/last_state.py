"""The last state: how soon a start without the database answers, and what writing the file costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from dop_be import create_app
from dop_be.live.last_state import About
from dop_be.live.snapshot import Snapshot, build
from dop_be.live.state_file import StateFile
from tests.conftest import configuration, migrate
from tests.postgres import execute, free_port
from tests.shared import snapshot_of

from .figures import children
from .report import Table, milliseconds
from .servers import ROOT, environment, gunicorn, new_database, postgresql
from .windows import daily

STARTS = 20
ANSWERS = 100  # looked at after each start
WINDOWS = (0, 100, 10_000)
DATABASE = "db.example:5432/app"
IN_MAINTENANCE = "UPDATE system_settings SET is_maintain = true, maintenance_message = 'the last state'"


def measure(rounds: int) -> Iterator[Table]:
    with TemporaryDirectory() as directory:
        yield restarts(3 if rounds == 1 else STARTS, Path(directory) / "state.json")
        yield writing(Path(directory), rounds)


def restarts(count: int, path: Path) -> Table:
    """Kill everything, and start gunicorn alone, again and again."""
    with postgresql() as cluster:
        url = new_database(cluster, "last_state")
        with gunicorn("wsgi:app", url, workers=2, variables={"STATE_FILE": str(path)}) as server:
            execute(url, IN_MAINTENANCE)
            while not (path.exists() and "the last state" in path.read_text()):
                time.sleep(0.01)
            expected = ask(server.port)
            cluster.kill()
        seconds, wrong = zip(*(restart(url, path, expected) for _ in range(count)), strict=True)
        cluster.start()
    row = [str(count), milliseconds(median(seconds)), milliseconds(max(seconds)), "3 s", str(sum(wrong))]
    head = ["starts", "first answer, median", "worst", "at most", f"wrong ones of {count * ANSWERS:,} answers"]
    note = (
        "PostgreSQL was killed, and so is gunicorn each time, with SIGKILL. From the start of gunicorn's program to the"
        " first answer of `/gate`, which has to be that of before, as the next ones have."
    )
    return Table("A start without the database", head, [row], note)


def restart(url: str, path: Path, expected: str) -> tuple[float, int]:
    """Seconds until the gate answers, and how many of the first answers are others than `expected`."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment(url) | {"STATE_FILE": str(path)})
    try:
        while True:
            with suppress(OSError):
                answers = [ask(port)]
                break
            time.sleep(0.002)
        taken = time.perf_counter() - began
        answers += [ask(port) for _ in range(ANSWERS - 1)]
        return taken, sum(answer != expected for answer in answers)
    finally:
        for each in [process.pid, *children(process.pid)]:
            os.kill(each, signal.SIGKILL)
        process.wait()


def ask(port: int) -> str:
    """Status and body of what `/gate` answers, which has no seconds to wait."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/gate")
        response = connection.getresponse()
        return json.dumps([response.status, response.read().decode()])
    finally:
        connection.close()


def written(file: StateFile, snapshot: Snapshot) -> tuple[float, float]:
    """Seconds that one writing takes, and of CPU."""
    began, used = time.perf_counter(), time.thread_time()
    assert file.write(snapshot, About(DATABASE, snapshot.mark, None, time.time(), 0.0, None, 0.0))
    return time.perf_counter() - began, time.thread_time() - used


def writing(directory: Path, rounds: int) -> Table:
    """Write the file with few and many windows, each time another state's."""
    url = f"sqlite:///{directory / 'state.sqlite3'}"
    migrate(url)
    app = create_app(configuration(url))
    live = app.extensions["live"]
    live.refresh()
    found, rows = snapshot_of(live), []
    live.stop()
    for count in WINDOWS:
        snapshot = build(found.mark, found.settings, tokens=[], windows=daily(count), components=[])
        file = StateFile(directory / f"{count}.json", DATABASE, ROOT / "migrations", 86_400)
        times = [written(file, replace(snapshot, mark=replace(found.mark, version=n))) for n in range(rounds + 1)]
        wall, cpu = (median(each) for each in zip(*times[1:], strict=True))
        read = time.perf_counter()
        assert file.read()
        read = time.perf_counter() - read
        size = f"{file.path.stat().st_size / 1000:,.1f} kB"
        rows.append([f"{count:,}", milliseconds(wall), milliseconds(cpu), size, milliseconds(read)])
    head = ["windows", "writing, fsync included", "its CPU", "size", "reading"]
    note = f"Median of {rounds}; a thread of its own writes, after each swap and every ten seconds."
    return Table("The file of the last state", head, rows, note)
