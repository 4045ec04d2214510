"""What an upgrade with nothing to do costs, and how soon a migration that waited for another goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from statistics import median

import psycopg2
from psycopg2 import extensions

from .report import Table, milliseconds
from .servers import ROOT, environment, flask, new_database, postgresql

LOCK_KEY = 0x646F705F6265  # that of migrations/lock.py


def measure(rounds: int) -> Iterator[Table]:
    with postgresql() as cluster:
        url = new_database(cluster, "migrations")
        pairs = [(seconds(url, "--help"), seconds(url, "db", "upgrade")) for _ in range(rounds)]
        waits = [goes_on(url) for _ in range(rounds)]
    start, upgrade = (median(times) for times in zip(*pairs, strict=True))
    rows = [
        ["`flask --help`, which only starts", milliseconds(start)],
        ["`flask db upgrade` with nothing to do", milliseconds(upgrade)],
        ["from a migration's end to the next one's going on, median", milliseconds(median(waits))],
        ["the same, at most", milliseconds(max(waits))],
    ]
    yield Table(
        "Migrations", ["", "time"], rows, f"In turn, rounds: {rounds}; wall time, since a deployment waits for it."
    )


def seconds(url: str, *command: str) -> float:
    began = time.perf_counter()
    flask(url, *command)
    return time.perf_counter() - began


def goes_on(url: str) -> float:
    """Seconds from the migration lock's end to the end of the wait, which the next migration tells by taking it."""
    with closing(psycopg2.connect(url)) as holder, closing(psycopg2.connect(url)) as watcher:
        watcher.autocommit = True
        holder.cursor().execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
        migration = subprocess.Popen(command, cwd=ROOT, env=environment(url), stderr=subprocess.PIPE, text=True)
        with migration:
            while migration.stderr and "waiting for" not in (line := migration.stderr.readline()):
                if not line:
                    raise RuntimeError("the migration ended without waiting")
            holder.commit()
            began = time.perf_counter()
            while not held(watcher) and migration.poll() is None:
                time.sleep(0.002)
            waited = time.perf_counter() - began
            migration.communicate()
    return waited


def held(connection: extensions.connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        return cursor.fetchone() != (0,)
