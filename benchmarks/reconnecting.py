"""How soon many workers know the state again after a restart of their server."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from tests.postgres import execute
from tests.secured import SecuredCluster

from .figures import cpu_seconds, percentile
from .report import Table
from .servers import PATIENCE, ROOT, environment, migrate, secured_postgresql

WATCHERS, PROCESSES = (100, 600), 4
AWAY = (0.0, 10.0)  # seconds without a server; after ten of them each watcher waits as long as it ever does
REST = 5.0  # seconds until what was opened for the first reading alone is closed again
ROUNDS = 3
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
HEAD = ["", "p50", "p99", "last", "at most", "CPU a watcher", "connections a watcher, before and after"]


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    with secured_postgresql(max_connections="1500") as cluster:
        migrate(cluster.create("reconnecting"))
        url = cluster.secured_url("reconnecting", "disable")
        for count in WATCHERS if rounds > 1 else WATCHERS[:1]:
            with watching(url, count) as processes:
                rows += [row(cluster, processes, count, away, min(rounds, ROUNDS)) for away in AWAY]
    note = (
        f"Watchers of workers, in {PROCESSES} processes of many threads each, which share this machine's cores with the"
        " server; SCRAM, without TLS. Seconds from when the server takes connections again until each watcher has asked"
        f" it; never: not within a minute. Medians of up to {ROUNDS} restarts."
    )
    yield Table("Many workers after a restart of their server", HEAD, rows, note)


Process = subprocess.Popen[str]


@contextmanager
def watching(url: str, count: int) -> Iterator[Sequence[Process]]:
    """Return processes whose watchers have read the state, all that can."""
    command = [sys.executable, "-m", "benchmarks.watchers", str(count // PROCESSES)]
    env = environment(url) | {"LOG_LEVEL": "CRITICAL"}
    with ExitStack() as stack:
        processes = [stack.enter_context(closing_input(command, env)) for _ in range(PROCESSES)]
        for process in processes:
            answer(process)
        yield processes


@contextmanager
def closing_input(command: list[str], env: dict[str, str]) -> Iterator[Process]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdin=pipe, stdout=pipe) as process:
        yield process
        process.communicate(timeout=PATIENCE)


def answer(process: Process) -> list[float]:
    """Read one line.

    Raises:
        RuntimeError: the process has ended instead.
    """
    assert process.stdout is not None
    if line := process.stdout.readline():
        times: list[float] = json.loads(line)
        return times
    raise RuntimeError("the watchers have ended")


def row(cluster: SecuredCluster, processes: Sequence[Process], count: int, away: float, rounds: int) -> list[str]:
    """Restart the server, so many times."""
    taken, cpu, held = zip(*(restart(cluster, processes, away) for _ in range(rounds)), strict=True)
    figures = [shown(median(percentile(each, share) for each in taken)) for share in (50, 99, 100)]
    before, after = (median(each) / count for each in zip(*held, strict=True))
    name = f"{count} watchers, the server {away:.0f} s away"
    return [name, *figures, "5 s", f"{median(cpu) / count * 1000:.1f} ms", f"{before:.1f} / {after:.1f}"]


def shown(seconds: float) -> str:
    return "never" if math.isinf(seconds) else f"{seconds:.2f} s"


def restart(
    cluster: SecuredCluster, processes: Sequence[Process], away: float
) -> tuple[list[float], float, tuple[int, int]]:
    """Seconds until each watcher is fresh, CPU seconds of all together, and their connections before and after."""
    time.sleep(REST)
    held = connections(cluster)
    cluster.stop()
    stopped = time.monotonic()
    time.sleep(away)
    used = sum(cpu_seconds(process.pid) for process in processes)
    cluster.start()
    ready = time.monotonic()
    for process in processes:
        assert process.stdin is not None
        print(stopped, file=process.stdin, flush=True)
    taken = [at - ready for process in processes for at in answer(process)]
    used = sum(cpu_seconds(process.pid) for process in processes) - used
    return taken, used, (held, connections(cluster))


def connections(cluster: SecuredCluster) -> int:
    [(count,)] = execute(cluster.url("reconnecting"), CONNECTIONS)
    return int(count)
