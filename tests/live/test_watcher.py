"""The watcher's loop: it goes on whatever happens, never spins, and ends at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dop_be.live import Live, watcher
from dop_be.live.snapshot import Mark
from dop_be.live.sources import Reopen, Wake
from dop_be.live.watcher import LONGEST_DELAY, Watcher

from ..clock import Clock
from ..e2e.servers import eventually


class Target:
    """Counts what the watcher does to the live state and its source; `trouble` is called at the named step."""

    mark: Mark | None = Mark(1, "head", 1, None)
    clock = SimpleNamespace(is_due=False)
    engine = watching = fallback = deaf = lag = None

    def __init__(self, **trouble: Callable[[], object]) -> None:
        self.calls: list[str] = []
        self.lost: list[Exception] = []
        self._trouble = trouble

    def open(self, _engine: Any, _watching: Any, _fallback: Any, wake: Wake) -> Target:
        self._wake = wake
        self._step("open")
        return self

    def close(self) -> None:
        self.calls.append("close")

    def wait(self, seconds: float, loaded: Mark | None) -> bool:
        self._wake.wait(min(seconds, 0.01))
        return bool(self._step("wait"))

    def follow(self, _source: Target) -> None:
        """Any server will do."""

    def refresh(self, _source: Target, _seconds: float | None = None) -> bool:
        return self._step("refresh") is not False

    def confirm(self, _lag: float | None) -> None:
        self._step("confirm")

    def lose(self, error: Exception) -> None:
        self.lost.append(error)
        self._step("lose")

    def _step(self, name: str) -> object:
        self.calls.append(name)
        return self._trouble[name]() if name in self._trouble else None


@contextmanager
def watching(target: Target) -> Iterator[Watcher]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watcher, "open_source", target.open)
        started = Watcher(cast("Live", target))
        started.start()
        try:
            yield started
        finally:
            started.stop()
            assert not started.is_alive()


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def test_it_opens_the_source_before_it_reads() -> None:
    target = Target()
    with watching(target):
        eventually(5, lambda: "confirm" in target.calls)
    assert target.calls[:3] == ["open", "refresh", "wait"]


def test_a_change_is_read() -> None:
    target = Target(wait=lambda: True)
    with watching(target):
        eventually(5, lambda: target.calls.count("refresh") > 3)
    assert "confirm" not in target.calls


def test_a_state_that_was_not_read_is_read_again_without_a_change() -> None:
    target = Target(refresh=lambda: False)
    with watching(target):
        eventually(5, lambda: target.calls.count("refresh") > 3)
    assert target.calls.count("open") == 1


@pytest.mark.parametrize("step", ["open", "refresh", "wait", "confirm"])
@pytest.mark.parametrize("error", [OSError("gone"), RecursionError()])
def test_it_survives_any_error_and_does_not_spin(step: str, error: Exception) -> None:
    target = Target(**{step: failing(error)})
    with watching(target) as running:
        time.sleep(0.4)
        assert running.is_alive()
        assert target.lost
        assert set(target.lost) == {error}
    assert len(target.lost) <= 5  # 50 to 100 ms at first, then twice as long each time


def test_it_survives_an_error_in_noting_an_error(caplog: pytest.LogCaptureFixture) -> None:
    target = Target(open=failing(OSError("gone")), lose=failing(ZeroDivisionError()))
    with watching(target) as running:
        eventually(5, lambda: len(target.lost) > 1)
        assert running.is_alive()
    assert "the watcher failed, and goes on" in caplog.text


def test_its_pauses_grow_to_a_limit_and_are_short_again_after_success() -> None:
    target = Target(open=failing(OSError()))
    with watching(target) as running:
        running._delay = LONGEST_DELAY
        eventually(5, lambda: target.lost)
        assert running._delay == LONGEST_DELAY
        target._trouble.clear()
        eventually(2 * LONGEST_DELAY, lambda: "confirm" in target.calls)
        eventually(5, lambda: running._delay < LONGEST_DELAY)


def test_a_source_that_opens_and_fails_at_once_has_growing_pauses_too() -> None:
    target = Target(wait=failing(OSError()))
    with watching(target):
        time.sleep(0.5)
    assert target.calls.count("open") <= 6


def test_a_source_to_open_again_is_no_loss() -> None:
    target = Target(wait=failing(Reopen()))
    with watching(target):
        eventually(5, lambda: target.calls.count("open") > 2)
    assert target.lost == []


def test_it_stops_within_its_longest_pause() -> None:
    target = Target(open=failing(OSError()))
    with watching(target) as running:
        running._delay = 60
        eventually(5, lambda: target.lost)
        clock = Clock()
        running.stop()
        assert clock.stop() < 1


def test_it_may_be_stopped_by_several_threads_and_again() -> None:
    for _ in range(20):
        with watching(Target()) as running:
            threads = [threading.Thread(target=running.stop) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
