"""How long after a commit the last worker serves the new state."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from .apps import RECORD
from .figures import percentile
from .report import Table, milliseconds
from .servers import ADMIN, PATIENCE, ROOT, Server, gunicorn, migrate, new_database, postgresql

FLIPS = 1_000
SQLITE_FLIPS = 200  # each takes tens of milliseconds
PAUSE = 0.003  # seconds between flips, so that one ends before the next begins
SHARED_MEMORY = Path("/dev/shm")
HEAD = ["", "p50", "p99", "most", "at most, p50 / p99"]
PROBE = (
    "Each worker notes when it swaps its snapshot, on the clock that all processes share; the flip begins where COMMIT"
    " is sent and ends with the last worker's swap."
)


class Probe:
    """Reads what the workers note down (`benchmarks.apps.probed`)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.swapped: dict[int, list[tuple[int, int]]] = {}  # by process: (version, nanoseconds)
        self.commits: list[int] = []  # nanoseconds

    def read(self) -> None:
        noted = self._file.read()
        for what, process, version, at in RECORD.iter_unpack(noted):
            if what == b"S":
                self.swapped.setdefault(process, []).append((version, at))
            else:
                self.commits.append(at)

    def wait(self, workers: int, version: int) -> int:
        """Wait until so many workers serve the version or a later one; when the last one did, in nanoseconds.

        Raises:
            TimeoutError: one does not come to it.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.read()
            if len(self.swapped) == workers and all(swaps[-1][0] >= version for swaps in self.swapped.values()):
                return max(next(at for seen, at in swaps if seen >= version) for swaps in self.swapped.values())
            time.sleep(0.001)
        raise TimeoutError(f"version {version} did not reach all of {workers} workers: {self.swapped.keys()}")

    def version(self) -> int:
        return max(version for swaps in self.swapped.values() for version, _ in swaps)

    def close(self) -> None:
        self._file.close()


@contextmanager
def probed(
    url: str, workers: int, tree: Path = ROOT, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[Server, Probe]]:
    """Return the service with so many workers, all with their first snapshot."""
    with tempfile.NamedTemporaryFile(dir=SHARED_MEMORY) as noted, closing(Probe(Path(noted.name))) as probe:
        variables = {"PROBE_FILE": noted.name, **(variables or {})}
        app = "benchmarks.apps:probed()"
        with gunicorn(app, url, workers=workers, variables=variables, tree=tree) as server:
            probe.wait(workers, 1)
            yield server, probe


def latencies(probe: Probe, workers: int, flips: int, flip: Callable[[bool], int | None]) -> list[float]:
    """Seconds from each flip's commit to the last worker.

    `flip` flips to the value given and returns when it sent COMMIT, in nanoseconds, None where a worker notes it.
    """
    taken = []
    version = probe.version()
    for number in range(flips):
        version += 1
        began = flip(number % 2 == 0)
        done = probe.wait(workers, version)
        taken.append((done - (began or probe.commits[-1])) / 1e9)
        time.sleep(PAUSE)
    return taken


@contextmanager
def by_api(server: Server) -> Iterator[Callable[[bool], None]]:
    connection = server.connect()

    def flip(active: bool) -> None:
        body = json.dumps({"active": active})
        connection.request("PUT", "/api/v1/maintenance", body, {**ADMIN, "Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200 or answer["active"] is not active:
            raise RuntimeError(f"a flip was answered {response.status}: {answer}")

    yield flip
    connection.close()


@contextmanager
def by_sql(url: str) -> Iterator[Callable[[bool], int]]:
    """Return a connection of its own, as psql's."""
    connection = psycopg2.connect(url)

    def flip(active: bool) -> int:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE system_settings SET is_maintain = %s", (active,))
        began = time.monotonic_ns()
        connection.commit()
        return began

    yield flip
    connection.close()


@contextmanager
def by_sqlite(path: Path) -> Iterator[Callable[[bool], int]]:
    """Another process's change of the file, made as the service makes it."""
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)

    def flip(active: bool) -> int:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE system_settings SET is_maintain = ?, revision = revision + 1", (active,))
        connection.execute("UPDATE live_state SET version = version + 1")
        began = time.monotonic_ns()
        connection.execute("COMMIT")
        return began

    yield flip
    connection.close()


def row(name: str, taken: list[float], goal: str = "") -> list[str]:
    return [name, *map(milliseconds, (percentile(taken, 50), percentile(taken, 99), max(taken))), goal]


def measure(rounds: int) -> Iterator[Table]:
    flips, sqlite_flips = (FLIPS, SQLITE_FLIPS) if rounds > 1 else (FLIPS // 10, SQLITE_FLIPS // 10)
    rows = []
    with postgresql() as cluster:
        url = new_database(cluster, "flips")
        for workers in (4, 8):
            goal = "5 ms / 50 ms" if workers == 8 else ""
            with probed(url, workers) as (server, probe):
                with by_api(server) as flip:
                    rows.append(row(f"last of {workers} workers, by API", latencies(probe, workers, flips, flip), goal))
                with by_sql(url) as flip_sql:
                    taken = latencies(probe, workers, flips, flip_sql)
                    rows.append(row(f"last of {workers} workers, by psql", taken, goal))
    yield Table("From commit to the last worker, PostgreSQL", HEAD, rows, f"{flips:,} flips each. {PROBE}")
    yield Table("From commit to the last worker, SQLite", HEAD, sqlite(sqlite_flips), f"{sqlite_flips} flips each.")


def sqlite(flips: int, workers: int = 4) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "flips.sqlite3"
        url = f"sqlite:///{path}"
        migrate(url)
        with probed(url, workers) as (server, probe):
            with by_api(server) as flip:
                api = latencies(probe, workers, flips, flip)
            with by_sqlite(path) as flip_sql:
                other = latencies(probe, workers, flips, flip_sql)
    return [
        row(f"last of {workers} workers, by API", api, "500 ms (p99)"),
        row(f"last of {workers} workers, by another process", other, "500 ms (p99)"),
    ]
