"""Whether many settings cost more than one: the service with 1 and with 50 further settings."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.postgres import Cluster, execute

from .figures import percentile
from .flips import by_sql, latencies, probed
from .report import Table, microseconds, milliseconds
from .requests import REQUESTS
from .servers import ROOT, flask, gunicorn, migrate, postgresql

FLIPS = 300
WORKERS = 4
MARK = "    # Add further settings"
KINDS = (
    "setting_{}: Mapped[bool] = mapped_column(server_default=false(), doc='A switch.', info=PUBLIC)",
    "setting_{}: Mapped[int] = mapped_column(server_default=text('7'), doc='A number.', info=PUBLIC)",
    "setting_{}: Mapped[str | None] = mapped_column(String(100), doc='A text.', info=PUBLIC)",
    "setting_{}: Mapped[datetime | None] = mapped_column(UtcDateTime, doc='A moment.')",
)


def measure(rounds: int) -> Iterator[Table]:
    counts = (1, 50)
    flips = FLIPS if rounds > 1 else FLIPS // 10
    with postgresql() as cluster, ExitStack() as stack:
        trees = [stack.enter_context(tree_with(count, cluster)) for count in counts]
        costs = requests(
            [(tree, cluster.url(f"columns_{count}")) for tree, count in zip(trees, counts, strict=True)], rounds
        )
        rows = []
        for count, tree, cost in zip(counts, trees, costs, strict=True):
            url = cluster.url(f"columns_{count}")
            with probed(url, WORKERS, tree) as (_, probe), by_sql(url) as flip:
                taken = latencies(probe, WORKERS, flips, flip)
            figures = [milliseconds(percentile(taken, share)) for share in (50, 99)]
            rows.append([f"{count} further setting{'s' * (count > 1)}", microseconds(median(cost)), *figures])
    head = ["", "GET /api/v1/settings, CPU", f"flip to the last of {WORKERS}, p50", "p99"]
    note = (
        f"A copy of the service with generated columns, migrated by `flask db revision --autogenerate`; {flips} flips"
        " by SQL each."
    )
    yield Table("Many settings", head, rows, note)


@contextmanager
def tree_with(count: int, cluster: Cluster) -> Iterator[Path]:
    """Return a copy of the service with so many further settings, and its database `columns_<count>`."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "instance")
        shutil.copytree(ROOT, tree, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", tree)
        models = tree / "dop_be/settings/models.py"
        columns = "".join(f"    {KINDS[number % len(KINDS)].format(number)}\n" for number in range(count))
        text = models.read_text()
        if MARK not in text:
            raise RuntimeError("the model of the settings has no place that this script knows")
        models.write_text(text.replace(MARK, f"{columns}\n{MARK}"))
        execute(cluster.url(), f"CREATE DATABASE columns_{count}")
        url = cluster.url(f"columns_{count}")
        migrate(url, tree)
        flask(url, "db", "revision", "--autogenerate", "-m", "further settings", tree=tree)
        migrate(url, tree)
        yield tree


def requests(services: list[tuple[Path, str]], rounds: int) -> list[list[float]]:
    """CPU seconds per read of the settings, of each service in each round, in turn."""
    with ExitStack() as stack:
        servers = [stack.enter_context(gunicorn("wsgi:app", url, tree=tree)) for tree, url in services]
        taken: list[list[float]] = [[] for _ in servers]
        for _ in range(rounds + 1):  # the first warms up
            for server, values in zip(servers, taken, strict=True):
                values.append(server.cpu_per_request("/api/v1/settings", REQUESTS))
        return [values[1:] for values in taken]
