"""`python -m tests.robustness --seeds 100`: run many seeds, say what was covered, and keep the records that fail."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from .attempt import attempt_or_tell
from .coverage import Covered, table


def main() -> int:
    """Return 0 where every run kept every promise."""
    given = _arguments()
    seeds = range(given.first, given.first + given.seeds)
    counted: Covered = Counter()
    failed = list[int]()
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(attempt_or_tell, seeds, [given.seconds] * len(seeds)):
            print(found, flush=True)
            counted.update(found.covered)
            failed += [found.seed] if found.wrong else []
    print(f"\nCalls that were under way while a fault was in force:\n\n{table(counted)}\n")
    print(f"{len(seeds)} seeds run, failed: {', '.join(map(str, failed)) or 'none'}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each one runs")
    parser.add_argument("--jobs", type=int, default=max(1, len(os.sched_getaffinity(0)) // 2), help="how many at once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
