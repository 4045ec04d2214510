"""CPU that a worker spends on a request, against a raw WSGI callable and a bare Flask view; what the database sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests.postgres import Cluster

from .report import Table, microseconds
from .servers import gunicorn, new_database, postgresql

REQUESTS = 1_000  # per subject and round
STATEMENT_REQUESTS = 10_000


@dataclass(frozen=True)
class Subject:
    """Something to ask for, and the subject that it is compared with."""

    name: str
    app: str
    path: str
    against: str | None = None
    goal: str = ""


RAW, BARE = "(a) raw WSGI callable", "(b) bare Flask JSON view"
SUBJECTS = (
    Subject(RAW, "benchmarks.apps:raw", "/livez"),
    Subject(BARE, "benchmarks.apps:bare()", "/view"),
    Subject("(c) (b) with a query in before_request", "benchmarks.apps:querying()", "/view", BARE),
    Subject("(d) GET /api/v1/settings", "wsgi:app", "/api/v1/settings", BARE, "1.1"),
    Subject("(d) GET /api/v1/maintenance", "wsgi:app", "/api/v1/maintenance", BARE, "1.1"),
    Subject("(d) GET /gate", "wsgi:app", "/gate", RAW, "1.25"),
    Subject("(d) GET /", "wsgi:app", "/", BARE),
)


def measure(rounds: int) -> Iterator[Table]:
    # What the cluster logs is counted afterwards; a line names the application that sent the statement.
    with postgresql(log_statement="all", log_line_prefix="%a:") as cluster:
        url = new_database(cluster, "requests")
        yield costs(measured(SUBJECTS, url, rounds))
        yield statements(cluster, url)


def measured(subjects: tuple[Subject, ...], url: str, rounds: int) -> Mapping[Subject, list[float]]:
    """CPU seconds per request of each subject in each round; the rounds go through all subjects in turn."""
    with ExitStack() as stack:
        apps = {subject.app for subject in subjects}
        servers = {app: stack.enter_context(gunicorn(app, url)) for app in sorted(apps)}
        for subject in subjects:
            servers[subject.app].drive(subject.path, REQUESTS // 4)
        taken: dict[Subject, list[float]] = {subject: [] for subject in subjects}
        for _ in range(rounds):
            for subject in subjects:
                taken[subject].append(servers[subject.app].cpu_per_request(subject.path, REQUESTS))
        return taken


def costs(taken: Mapping[Subject, list[float]], title: str = "CPU of the worker per request", more: str = "") -> Table:
    """Return the table of `measured`: medians, and the median of each round's own ratio."""
    by_name = {subject.name: values for subject, values in taken.items()}
    rows = []
    for subject, values in taken.items():
        row = [subject.name, microseconds(median(values))]
        if subject.against:
            ratio = median(ours / theirs for ours, theirs in zip(values, by_name[subject.against], strict=True))
            row += [f"{ratio:.2f} × {subject.against[:3]}", subject.goal and f"{subject.goal} ×"]
        rows.append(row + [""] * (4 - len(row)))
    note = (
        "One gunicorn worker each, gunicorn.conf.py as it is, four kept-alive connections,"
        f" {REQUESTS:,} requests per subject and round, in turn; medians of {len(rows and values)} rounds,"
        " a ratio is the median of the rounds' own ratios. (a) answers the same bytes as an open gate."
        f" {more}"
    ).strip()
    return Table(title, ["request", "CPU", "ratio", "at most"], rows, note)


def statements(cluster: Cluster, url: str) -> Table:
    """How many statements the server logs while the service reads, those of the watcher apart."""
    paths = ("/api/v1/settings", "/api/v1/maintenance", "/gate", "/")
    with gunicorn("wsgi:app", url) as server:
        server.drive("/", 4)
        before = logged(cluster)
        if not before["dop_be"]:
            raise RuntimeError("the log does not show the statements of a start, so it would show none of a request")
        for path in paths:
            server.drive(path, STATEMENT_REQUESTS // len(paths))
        after = logged(cluster)
    count = {name: after[name] - before[name] for name in after}
    rows = [
        [f"for {STATEMENT_REQUESTS:,} read requests", str(count["dop_be"]), "0"],
        ["by the watcher meanwhile, its poll of the version", str(count["dop_be listener"]), ""],
    ]
    note = f"Counted in the server's log (log_statement = all) over {', '.join(paths)}, in steady state."
    return Table("Statements that the database sees", ["statements", "count", "at most"], rows, note)


def logged(cluster: Cluster) -> dict[str, int]:
    """Statements in the log by the name of the application that sent them."""
    lines = cluster.log.read_text().splitlines()
    names = ("dop_be", "dop_be listener")
    return {name: sum(line.startswith(f"{name}:LOG:  statement") for line in lines) for name in names}
