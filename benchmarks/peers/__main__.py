"""`python -m benchmarks.peers [--rounds N]`: print Markdown and write the section of docs/benchmarks.md."""

from __future__ import annotations

from benchmarks.__main__ import PACKAGES, options
from benchmarks.report import conditions, write
from benchmarks.requests import BARE, RAW, Subject, costs, measured
from benchmarks.servers import new_database, postgresql

DJANGO = "(e) bare Django JSON view"
SUBJECTS = (
    Subject(RAW, "benchmarks.apps:raw", "/livez"),
    Subject(BARE, "benchmarks.apps:bare()", "/view"),
    Subject("(d) the same view in dop_be, gated", "benchmarks.apps:gated()", "/view", BARE),
    Subject("(d) GET /gate", "wsgi:app", "/gate", RAW),
    Subject(DJANGO, "benchmarks.peers.django_app:application()", "/view"),
    Subject(
        "(e) with django-maintenance-mode, file", "benchmarks.peers.django_app:application('file')", "/view", DJANGO
    ),
    Subject(
        "(e) with django-maintenance-mode, cache", "benchmarks.peers.django_app:application('cache')", "/view", DJANGO
    ),
)
NOTE = (
    "django-maintenance-mode's cache backend is on Django's default, a cache of the process's own: each worker has its"
    " own switch then. Its file backend is read with every request, and says nothing to another machine."
)


def main() -> None:
    rounds = options(__doc__).parse_args().rounds
    packages = (*PACKAGES, "django", "django-maintenance-mode")
    with postgresql() as cluster:
        taken = measured(SUBJECTS, new_database(cluster, "peers"), rounds)
    table = costs(taken, "CPU of the worker per request, beside django-maintenance-mode", NOTE)
    print(conditions(packages))
    print(table.markdown())
    if rounds > 1:
        write("bench-peers", [table], packages)


if __name__ == "__main__":
    main()
