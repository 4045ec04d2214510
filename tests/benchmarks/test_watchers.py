from __future__ import annotations

import math
from collections.abc import Callable

from flask import Flask

from benchmarks.watchers import confirmed
from dop_be.live import Status


def test_each_watcher_counts_from_its_first_look_after_the_time(make_app: Callable[..., Flask]) -> None:
    looked = (7.0, None, 4.0, 5.0)
    watchers = [make_app("sqlite:///none.sqlite3").extensions["live"] for _ in looked]
    for watcher, at in zip(watchers, looked, strict=True):
        watcher.status = Status(confirmed_at=at)
    assert confirmed(watchers, 4.0, patience=0.1) == [7.0, math.inf, math.inf, 5.0]
