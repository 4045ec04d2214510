"""Verdicts on components that a proxy keeps, and what counts while dop_be is dead."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

from .components import PREFLIGHT, statuses
from .proxies import NAMES, REMEMBERING, STALE, Proxy
from .servers import eventually
from .visitors import Asked, Headers, Recorder

ALL_OPEN, ALL_CLOSED = dict.fromkeys(("billing", "search", ""), 200), dict.fromkeys(("billing", "search", ""), 503)
QUESTIONS = {"/gate": "", "/gate/component/billing": "billing", "/gate/component/search": "search"}
KINDS: list[tuple[str, Headers]] = [("GET", ()), ("POST", ()), ("OPTIONS", PREFLIGHT)]
KEYS = [(name, kind) for name in QUESTIONS.values() for kind, _ in KINDS]
HOLDER = [("X-Maintenance-Bypass", "dop_1_2"), ("Cookie", "maintenance_bypass=dop_1_2")]


class Gate:
    """In dop_be's place: refuses what it is asked about `closed`, a set of (component, kind), until it is dead."""

    def __init__(self) -> None:
        self.closed, self.dead = set[tuple[str, str]](), False
        self.asked = Counter[tuple[str, str]]()  # the questions whose answer may be kept

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str]]:
        path = asked.target.partition("?")[0]
        if self.dead:
            return 500, {}
        if path == "/livez":
            return 200, {}
        (kind,) = asked.values("X-Forwarded-Method")
        about = QUESTIONS[path], kind
        kept = re.search("keep=([0-9]+)", asked.target)
        self.asked[about] += kept is not None
        caching = f"max-age=1, stale-if-error={kept[1]}" if kept else "no-store"
        return 403 if about in self.closed else 200, {"Cache-Control": caching}

    def expected(self) -> list[dict[str, int]]:
        """Return the answers that a visitor gets, by kind of request."""
        return [{name: 503 if (name, kind) in self.closed else 200 for name in QUESTIONS.values()} for kind, _ in KINDS]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def platform() -> Iterator[Recorder]:
    server = Recorder(lambda _: (200, {}))
    yield server
    server.end()


@pytest.fixture
def edge(gate: Gate, platform: Recorder, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Make a proxy before the gate and the platform."""
    dop_be = Recorder(gate)
    yield lambda name, **options: Proxy(name, tmp_path / name, platform.port, dop_be.port, **options)
    dop_be.end()


def answers(proxy: Proxy, *headers: tuple[str, str]) -> list[dict[str, int]]:
    return [statuses(proxy, method, [*own, *headers]) for method, own in KINDS]


@pytest.mark.parametrize("name", REMEMBERING)
class TestKept:
    @pytest.mark.parametrize("bit", range(4))
    def test_a_verdict_answers_for_its_own_component_and_kind(
        self, name: str, bit: int, gate: Gate, edge: Callable[..., Proxy]
    ) -> None:
        """Any two of the nine differ in one of the four rounds at least."""
        gate.closed = {about for number, about in enumerate(KEYS, 1) if number >> bit & 1}
        with edge(name, unhurried=True).running() as proxy:
            began = time.monotonic()
            for _ in range(3):
                assert answers(proxy) == gate.expected()
            assert set(gate.asked) == set(KEYS)
            assert max(gate.asked.values()) <= 2 + time.monotonic() - began  # one is kept for a second
            gate.dead = True
            time.sleep(STALE)
            assert answers(proxy) == gate.expected()
            assert answers(proxy, *HOLDER) == gate.expected()

    @pytest.mark.parametrize("fail_closed", [False, True])
    def test_one_that_is_too_old_leaves_it_to_the_rule(
        self, name: str, gate: Gate, edge: Callable[..., Proxy], *, fail_closed: bool
    ) -> None:
        gate.closed = {("billing", kind) for kind, _ in KINDS}
        with edge(name, fail_closed=fail_closed, keep=1).running() as proxy:
            eventually(30, lambda: answers(proxy) == gate.expected())
            gate.dead = True
            ruled = ALL_CLOSED if fail_closed else ALL_OPEN
            eventually(30, lambda: answers(proxy) == [ruled] * len(KINDS))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fail_closed", [False, True])
def test_a_gate_that_was_never_heard_leaves_it_to_the_rule(
    name: str, platform: Recorder, tmp_path: Path, *, fail_closed: bool
) -> None:
    with Proxy(name, tmp_path / name, platform.port, free_port(), fail_closed=fail_closed).running() as proxy:
        assert answers(proxy) == [ALL_CLOSED if fail_closed else ALL_OPEN] * len(KINDS)
        refused = proxy.ask("POST", "/x/../billing")
        assert (b"unavailable" in refused.body, platform.asked[-1:] == []) == (fail_closed, fail_closed)
        if not fail_closed:
            assert platform.asked[-1].target == "/billing"
