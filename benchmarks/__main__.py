"""`python -m benchmarks [--rounds N] [MEASUREMENT …]`: run them, print Markdown, write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

import benchmarks

from .report import Table, conditions, write

PACKAGES = ("flask", "werkzeug", "gunicorn", "sqlalchemy", "psycopg2-binary")
Measurement = Callable[[int], Iterator[Table]]


def measurements() -> dict[str, Measurement]:
    """Every module of this package that has a `measure`, by name."""
    modules = {info.name: info for info in pkgutil.iter_modules(benchmarks.__path__) if info.name != "__main__"}
    loaded = {name: import_module(f"benchmarks.{name}") for name in sorted(modules)}
    return {name: module.measure for name, module in loaded.items() if hasattr(module, "measure")}


def options(description: str | None) -> argparse.ArgumentParser:
    """Return what every run takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=11, help="1 is a quick look, which writes nothing")
    return parser


def main() -> None:
    found = measurements()
    parser = options(__doc__)
    parser.add_argument("measurement", nargs="*", help=f"one of {', '.join(found)}; without any, all of them")
    asked = parser.parse_args()
    if unknown := set(asked.measurement) - set(found):
        parser.error(f"there is no {', '.join(unknown)}")
    tables = []
    print(conditions(PACKAGES))
    for name in asked.measurement or found:
        for table in found[name](asked.rounds):
            print(table.markdown(), flush=True)
            tables.append(table)
    if not asked.measurement and asked.rounds > 1:
        write("bench", tables, PACKAGES)


if __name__ == "__main__":
    main()
