"""Memory of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from .figures import memory
from .report import Table
from .servers import gunicorn, new_database, postgresql

REQUESTS = 400  # before looking, per worker, so that what is loaded lazily is loaded
PATHS = ("/", "/api/v1/settings", "/api/v1/maintenance", "/gate", "/readyz")


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    with postgresql() as cluster:
        url = new_database(cluster, "memory")
        for workers in (1, 2, 8):
            with gunicorn("wsgi:app", url, workers=workers, ready="/readyz") as server:
                for path in PATHS:
                    server.drive(path, REQUESTS * workers // len(PATHS))
                sizes = [memory(worker) for worker in server.workers()]
            rss, pss = (mean(size[kind] for size in sizes) for kind in (0, 1))
            rows.append([f"{workers} worker{'s' * (workers > 1)}", f"{rss:.0f} MB", f"{pss:.0f} MB", "70 MB"])
    note = (
        f"Means over the workers, after {REQUESTS} requests each. RSS counts what they share in each of them; PSS once."
    )
    yield Table("Memory per worker", ["", "RSS", "PSS", "at most"], rows, note)
