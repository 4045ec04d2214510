"""The two figures of migrations: what an upgrade with nothing to do costs, and how soon a waiting release goes on.

    python benchmarks/migrations.py postgresql://…      on a database of its own

The first is measured side by side with `flask --help`, the cost of starting the same environment, in turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg2

ROOT = Path(__file__).parents[1]
LOCK_KEY = 0x646F705F6265  # that of migrations/release.py
FLASK = str(Path(sys.executable).with_name("flask"))
ROUNDS = 15


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run([FLASK, *command], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def nothing_to_do() -> dict[str, float]:
    pairs = [(seconds("--help"), seconds("db", "upgrade")) for _ in range(ROUNDS)]
    start, upgrade = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"flask --help, s": start, "flask db upgrade, s": upgrade, "ratio": upgrade / start}


def goes_on(url: str) -> float:
    """Seconds from the release lock's end to the end of the wait, which the next release tells by taking it."""
    with psycopg2.connect(url) as holder, psycopg2.connect(url) as watcher:
        watcher.autocommit = True
        holder.cursor().execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        release = subprocess.Popen([FLASK, "db", "upgrade"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert release.stderr is not None
        while "waiting for" not in release.stderr.readline():
            pass
        holder.commit()
        began = time.perf_counter()
        while not held(watcher) and release.poll() is None:
            time.sleep(0.002)
        waited = time.perf_counter() - began
        release.communicate()
    return waited


def held(connection: psycopg2.extensions.connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        return cursor.fetchone() != (0,)


def main() -> None:
    url = sys.argv[1]
    os.environ["DATABASE_URL"] = url
    seconds("db", "upgrade")
    waits = [goes_on(url) for _ in range(ROUNDS)]
    result = nothing_to_do() | {"goes on after, median s": statistics.median(waits), "at most s": max(waits)}
    print(json.dumps({name: round(value, 3) for name, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
