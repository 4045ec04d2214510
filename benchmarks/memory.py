"""Memory of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from .figures import memory
from .report import Table
from .servers import gunicorn, new_database, postgresql

REQUESTS = 400  # before looking, per worker, so that what is loaded lazily is loaded
# Libraries of this environment's tools, which others load, 10 MB, where they find them; no deployment has them.
TOOLS = ("greenlet", "pygments", "rich", "yaml")
PATHS = ("/", "/api/v1/settings", "/api/v1/maintenance", "/gate", "/readyz")


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    with postgresql() as cluster, TemporaryDirectory() as directory:
        for name in TOOLS:
            (Path(directory) / f"{name}.py").write_text("raise ImportError")
        variables = {"PYTHONPATH": directory}
        url = new_database(cluster, "memory")
        for workers in (1, 2, 8):
            with gunicorn("wsgi:app", url, workers=workers, ready="/readyz", variables=variables) as server:
                for path in PATHS:
                    server.drive(path, REQUESTS * workers // len(PATHS))
                sizes = [memory(worker) for worker in server.workers()]
            rss, pss = (mean(size[kind] for size in sizes) for kind in (0, 1))
            rows.append(
                [
                    f"{workers} worker{'s' * (workers > 1)}",
                    f"{rss:.0f} MB",
                    f"{pss:.0f} MB",
                    "30 MB PSS" if workers == 8 else "",
                ]
            )
    note = (
        f"Means over the workers, after {REQUESTS} requests each. RSS counts what they share in each of them; PSS once."
    )
    yield Table("Memory per worker", ["", "RSS", "PSS", "at most"], rows, note)
