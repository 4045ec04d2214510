"""What gunicorn.conf.py chooses among: worker classes, threads, HTTP parsers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from importlib.util import find_spec
from statistics import median

import psycopg2

from .figures import cpu_seconds, memory, percentile
from .report import Table, microseconds, milliseconds
from .requests import REQUESTS
from .servers import ADMIN, Server, gunicorn, new_database, postgresql

MOST_ROUNDS = 5  # the differences are large
OURS = "dop_be.web.worker.Worker"
Choice = tuple[str, int, str]  # worker class, threads, HTTP parser
CHOICES: tuple[Choice, ...] = (
    ("sync", 1, "python"),
    (OURS, 1, "python"),
    (OURS, 4, "python"),
    ("gthread", 4, "python"),
    ("gevent", 1, "python"),
    ("sync", 1, "fast"),
    (OURS, 1, "fast"),
    (OURS, 4, "fast"),
    ("gevent", 1, "fast"),
)
NEEDS = {"gevent": "gevent", "fast": "gunicorn_h1c"}  # further packages, not among the service's own
PATH = "/api/v1/settings"
HEAD = [
    "worker class",
    "parser",
    "CPU per read",
    "latency p50",
    "p99",
    "longest read while a write waits",
    "RSS",
    "PSS",
]


def measure(rounds: int) -> Iterator[Table]:
    rounds = min(rounds, MOST_ROUNDS)
    with postgresql() as cluster, ExitStack() as stack:
        url = new_database(cluster, "workers")
        servers: dict[Choice, Server] = {}
        rows = []
        for choice in CHOICES:
            name, threads, parser = choice
            if missing := [need for need in (NEEDS.get(name), NEEDS.get(parser)) if need and not find_spec(need)]:
                rows.append([*label(choice), f"{' and '.join(missing)} not installed", *[""] * 5])
                continue
            options = ("--worker-class", name, "--threads", str(threads), "--http-parser", parser)
            servers[choice] = stack.enter_context(gunicorn("wsgi:app", url, *options))
        cpu, latency = costs(servers, rounds)
        for choice, server in servers.items():
            (worker,) = server.workers()
            seconds = (percentile(latency[choice], 50), percentile(latency[choice], 99), longest_read(server, url))
            sizes = (f"{size:.0f} MB" for size in memory(worker))
            rows.append([*label(choice), microseconds(median(cpu[choice])), *map(milliseconds, seconds), *sizes])
    note = (
        f"One worker each, in turn, {rounds} rounds of {REQUESTS:,} requests for {PATH} through four connections, which"
        " a sync worker closes after each. The waiting write is one that finds the settings locked, for 1.2 seconds."
    )
    yield Table("Worker classes", HEAD, rows, note)


def label(choice: Choice) -> tuple[str, str]:
    name, threads, parser = choice
    known = {OURS: "ours", "gthread": "gthread"}
    return (f"{known[name]}, {threads} thread{'s' * (threads > 1)}" if name in known else name), parser


def costs(servers: Mapping[Choice, Server], rounds: int) -> tuple[dict[Choice, list[float]], dict[Choice, list[float]]]:
    """CPU seconds per request in each round, and the seconds that each answer took."""
    cpu: dict[Choice, list[float]] = {choice: [] for choice in servers}
    latency: dict[Choice, list[float]] = {choice: [] for choice in servers}
    for turn in range(rounds + 1):
        for choice, server in servers.items():
            (worker,) = server.workers()
            before = cpu_seconds(worker)
            taken = server.drive(PATH, REQUESTS)
            if turn:  # the first warms up
                cpu[choice].append((cpu_seconds(worker) - before) / REQUESTS)
                latency[choice] += taken
    return cpu, latency


def longest_read(server: Server, url: str) -> float:
    """Seconds of the slowest of many reads while a write waits for a lock that another program holds."""
    with closing(psycopg2.connect(url)) as holder, closing(server.connect()) as writer:
        holder.cursor().execute("SELECT 1 FROM system_settings FOR UPDATE")
        headers = {**ADMIN, "Content-Type": "application/json"}
        writer.request("PUT", "/api/v1/maintenance", json.dumps({"active": True}), headers)
        time.sleep(0.1)  # it is at the lock
        reads = server.drive(PATH, REQUESTS // 10)
        if writer.getresponse().status != 503:
            raise RuntimeError("the write did not wait for the lock")
    return max(reads)
