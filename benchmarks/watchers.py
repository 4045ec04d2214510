"""`python -m benchmarks.watchers COUNT`: as many workers' watchers on DATABASE_URL in one process, a thread each.

Prints a line once all have read the state, or a minute later. For each line that it is given, a time on the monotonic
clock, which all processes share, it prints when each watcher was first sure of its state after that time, as JSON; ends
with its input.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from config import Config
from dop_be import create_app
from dop_be.live import Live

PATIENCE = 60.0  # seconds
PAUSE = 0.005  # seconds between two looks
STARTING = 16  # at once


def main() -> None:
    configuration = Config.from_env()
    watchers: list[Live] = [create_app(configuration).extensions["live"] for _ in range(int(sys.argv[1]))]
    with ThreadPoolExecutor(STARTING) as pool:
        list(pool.map(Live.start, watchers))
    print(json.dumps(confirmed(watchers, 0.0)), flush=True)
    for line in sys.stdin:
        print(json.dumps(confirmed(watchers, float(line))), flush=True)
    os._exit(0)  # the threads would each take their leave


def confirmed(watchers: Sequence[Live], after: float, patience: float = PATIENCE) -> list[float]:
    """When each was first sure of its state after that time; infinity for one that is not, so many seconds long."""
    found = [math.inf] * len(watchers)
    deadline = time.monotonic() + patience
    while math.inf in found and time.monotonic() < deadline:
        for number, watcher in enumerate(watchers):
            at = watcher.status.confirmed_at
            if found[number] == math.inf and at is not None and at > after:
                found[number] = at
        time.sleep(PAUSE)
    return found


if __name__ == "__main__":
    main()
